import Glibc

/// The name of a recording, as far as it says something.
struct RecordingName: Equatable {
  enum Kind: Int, CaseIterable {
    case `in`
    case out
    case merged

    var suffix: String {
      switch self {
      case .in: ".in"
      case .out: ".out"
      case .merged: ".rawlog"
      }
    }
  }

  /// The name without its suffix: the session's id in the index.
  let stem: String
  let kind: Kind

  /// nil when the name does not end as that of a recording.
  init?(_ name: String) {
    guard let kind = Kind.allCases.first(where: { name.utf8.count > $0.suffix.utf8.count && name.hasSuffix($0.suffix) })
    else { return nil }
    self.kind = kind
    stem = String(name.dropLast(kind.suffix.count))
  }

  /// `RecordingFiles.key` of a session that this is a file of.
  func key(in prefix: String) -> String {
    switch kind {
    case .in, .out: prefix + stem
    case .merged: prefix + stem + kind.suffix
    }
  }

  /// What a stem says: `[CLIENT-]YYYYMMDD-HHMMSS.PID.N` of the relay and of Dovecot's rawlog_dir, or
  /// `[CLIENT-]YYYYMMDD-HHMMSS-PID` of its rawlog binary, which another number may follow.
  struct Parts: Equatable {
    /// The local time, digits only: `YYYYMMDDHHMMSS`.
    var time: UInt64
    var processID: UInt64
    var number: UInt64

    init?(_ stem: String) {
      let bytes = Array(stem.utf8)
      guard bytes.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }) else { return nil }
      // A client's address in front has hyphens at most at its end.
      for start in bytes.indices where start == 0 || bytes[start - 1] == UInt8(ascii: "-") {
        if let parts = Parts(bytes[start...]) {
          self = parts
          return
        }
      }
      return nil
    }

    private init?(_ bytes: ArraySlice<UInt8>) {
      var rest = bytes
      func number(digits: Int? = nil) -> UInt64? {
        let found = rest.prefix { (0x30...0x39).contains($0) }
        guard !found.isEmpty, digits == nil || found.count == digits else { return nil }
        rest = rest.dropFirst(found.count)
        return UInt64(String(decoding: found, as: UTF8.self))
      }
      func separator(_ among: String) -> Bool {
        guard let first = rest.first, among.utf8.contains(first) else { return false }
        rest = rest.dropFirst()
        return true
      }
      guard let day = number(digits: 8), separator("-"), let clock = number(digits: 6) else { return nil }
      guard separator(".-"), let processID = number() else { return nil }
      time = day * 1_000_000 + clock
      self.processID = processID
      self.number = 0
      if separator(".-") {
        guard let counter = number() else { return nil }
        self.number = counter
      }
      guard rest.isEmpty else { return nil }
    }

    /// The time in microseconds since the epoch, taken as local; nil when there is no such time.
    var microseconds: Int64? {
      var parts = tm()
      parts.tm_year = Int32(time / 10_000_000_000) - 1900
      parts.tm_mon = Int32(time / 100_000_000 % 100) - 1
      parts.tm_mday = Int32(time / 1_000_000 % 100)
      parts.tm_hour = Int32(time / 10_000 % 100)
      parts.tm_min = Int32(time / 100 % 100)
      parts.tm_sec = Int32(time % 100)
      parts.tm_isdst = -1
      let seconds = mktime(&parts)
      return seconds == -1 ? nil : Int64(seconds) * 1_000_000
    }
  }
}
