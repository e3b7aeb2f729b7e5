/// The program's version, as `--version` and the documents have it.
public let programVersion = "0.1.0"
