/// Sessions whose last packet was composed, in the order of their packets, until these are on disk: then their end
/// records go to the index.
struct CaptureEnds: ~Copyable {
  struct End {
    /// The session, as it stands in lists of the loop.
    var session: UInt64
    /// Which capture has its last packet, and where in it that ends.
    var capture: UInt64
    var position: UInt64
    /// How long its end record is; 0 when there is none.
    var recordBytes: Int
  }

  private var sessions = SlotQueue()
  private var captures = SlotQueue()
  private var positions = SlotQueue()
  private var lengths = SlotQueue()
  private var records = Bytes(capacity: 16 << 10)
  private var start = 0

  var count: Int { sessions.count }
  var isEmpty: Bool { sessions.isEmpty }

  /// - Parameter record: a line of the index.
  mutating func append(_ session: UInt64, capture: UInt64, position: UInt64, record: UnsafeRawBufferPointer) {
    sessions.append(session)
    captures.append(capture)
    positions.append(position)
    lengths.append(UInt64(record.count))
    records.append(record)
  }

  /// The oldest, of a queue that is not empty.
  var first: End {
    End(
      session: sessions.first, capture: captures.first, position: positions.first, recordBytes: Int(lengths.first))
  }

  /// Its end record.
  var firstRecord: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: records.span[start..<start + Int(lengths.first)])
  }

  mutating func removeFirst() {
    start += Int(lengths.removeFirst())
    _ = sessions.removeFirst()
    _ = captures.removeFirst()
    _ = positions.removeFirst()
    if sessions.isEmpty {
      records.removeAll()
      start = 0
    } else if start > records.count / 2 {
      records.removeFirst(start)
      start = 0
    }
  }
}
