// getopt(3) keeps its place in global variables; there is one thread here.
@preconcurrency import Glibc

/// What the drop-in's command line asks for: `rawlog [-f in|out] [-I] [-b] [-t] BINARY [ARGUMENTS]`.
struct Options: Equatable {
  /// Which directions are recorded; neither when both `-f in` and `-f out` are given, as with Dovecot's.
  var recordsIn = true
  var recordsOut = true
  var addressInName = false
  var timestamps = false
  var boundaries = false
  /// The place of BINARY among the arguments.
  var binary = 0

  enum Failure: Error, Equatable {
    /// getopt(3) has said what is wrong.
    case isSaid
    case filter(String)
    case noBinary

    /// The line to say, if there is one.
    var message: String? {
      switch self {
      case .isSaid: nil
      case .filter(let value): "Invalid filter: \(value)"
      case .noBinary: "Usage: rawlog [-f in|out] [-I] [-b] [-t] <binary> <arguments>"
      }
    }
  }

  func records(_ direction: Direction) -> Bool {
    switch direction {
    case .in: recordsIn
    case .out: recordsOut
    }
  }
}

extension Options {
  /// Reads the options up to the first operand (`+`), so that the binary's own options stay its own.
  ///
  /// `-c FILE -i NAME -k -o K=V -O -L` are what every program of Dovecot's takes; they mean nothing for a recording.
  init(count: Int32, arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) throws(Failure) {
    self.init()
    optind = 0
    while true {
      let option = getopt(count, arguments, "+f:bItc:i:ko:OL")
      guard option >= 0 else { break }
      switch UInt8(truncatingIfNeeded: option) {
      case UInt8(ascii: "f"): try filter(optarg)
      case UInt8(ascii: "b"): boundaries = true
      case UInt8(ascii: "I"): addressInName = true
      case UInt8(ascii: "t"): timestamps = true
      case UInt8(ascii: "?"): throw .isSaid
      default: break
      }
    }
    guard optind < count else { throw .noBinary }
    binary = Int(optind)
  }

  private mutating func filter(_ value: UnsafeMutablePointer<CChar>) throws(Failure) {
    if strcmp(value, "in") == 0 {
      recordsOut = false
    } else if strcmp(value, "out") == 0 {
      recordsIn = false
    } else {
      throw .filter(String(cString: value))
    }
  }
}
