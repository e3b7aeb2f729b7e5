/// How compressed captures are divided (contrib/seekable_format of zstd, version 0.1.0): frames of zstd that each hold so
/// many bytes, and behind them a frame that other programs pass over, with the length of each.
enum SeekableFormat {
  /// A frame that is passed over (RFC 8878 §3.1.2), and the number at the end of the one with the lengths.
  static let skippableMagic: UInt32 = 0x184D_2A5E
  static let tableMagic: UInt32 = 0x8F92_EAB1
  static let zstdMagic: UInt32 = 0xFD2F_B528
  /// What stands in front of the lengths, and behind them: how many there are, what each has, and the number.
  static let tableHeadBytes = 8
  static let tableFootBytes = 9
  /// Each has the length as it is, and as it was, and there may be a checksum.
  static let entryBytes = 8
  static let entryBytesWithChecksum = 12
  static let hasChecksums: UInt8 = 0x80
  /// Other bits say what is not known here.
  static let reservedBits: UInt8 = 0x7C
}
