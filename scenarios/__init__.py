"""The scenario schema, its files, and the command line: the one room that knows both the network and learning."""
