"""The radio: path loss, fading, links, shares of a band, and transmissions that contend for it."""
