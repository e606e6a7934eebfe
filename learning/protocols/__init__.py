"""Message patterns that schemes share, as generators."""
