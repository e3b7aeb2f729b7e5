/// Something in a capture that is not as it was written, though what follows can still be read.
struct CaptureDamage: Equatable {
  enum Kind: Equatable {
    /// A packet block that the recorder does not write: of another program, or changed.
    case strange
    /// A checksum does not fit: bytes were changed.
    case checksum
    /// Packets are missing: so many bytes of a direction, without a remark; negative when bytes come twice.
    case missing(Direction, bytes: Int64)
    /// A packet of a session without the one that it began with.
    case beginningMissing
    /// The capture ends with another count of packets than it has.
    case count(found: UInt64, stated: UInt64)
  }

  var kind: Kind
  /// Where in the capture the block begins.
  var block: UInt64
  /// The session's number; 0 when it is not known.
  var session: UInt64

  var text: String {
    switch kind {
    case .strange: "the block at \(block) is not as uring-rawlog writes packets"
    case .checksum: "the packet at \(block) was changed: its checksum does not fit"
    case .missing(let direction, let bytes) where bytes > 0:
      "\(direction): \(bytes) bytes are missing in front of the packet at \(block), without a remark"
    case .missing(let direction, let bytes):
      "\(direction): the packet at \(block) begins \(bytes.magnitude) bytes before the end of the one before"
    case .count(let found, let stated): "there are \(found) packets in front of byte \(block), and should be \(stated)"
    case .beginningMissing: "the packet at \(block) is of a session whose first packet is missing"
    }
  }
}
