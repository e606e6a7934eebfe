"""HO-SFL: split federated learning with first-order steps at the server and zeroth-order steps on devices."""

from learning.schemes.ho_sfl.scheme import HOSFL

__all__ = ["HOSFL"]
