import Testing

@testable import UringRawlog

@Suite struct TokenTests {
  private static let kinds = (0...UInt8.max).compactMap { Token.Kind(rawValue: $0) }

  @Test func everyKindSlotAndGenerationComesBack() {
    #expect(Self.kinds.count > 10)
    for kind in Self.kinds {
      for slot in [0, 1, 255, 256, 65535, 65536, Limits.sessionsMaximum - 1, Limits.sessionsMaximum * 2 - 1, 0xFF_FFFF]
      {
        for generation in [0, 1, 0x7FFF_FFFF, 0x8000_0000, UInt32.max] as [UInt32] {
          let token = Token(rawValue: Token(kind, slot: slot, generation: generation).rawValue)
          #expect(token.kind == kind && token.slot == slot && token.generation == generation)
        }
      }
    }
  }

  @Test func tokensThatDifferInAnythingAreDifferent() {
    var seen: Set<UInt64> = []
    for kind in Self.kinds {
      for slot in [0, 1, 0xFF_FFFF] {
        for generation in [0, 1, UInt32.max] as [UInt32] {
          #expect(seen.insert(Token(kind, slot: slot, generation: generation).rawValue).inserted)
        }
      }
    }
    #expect(Token(.accept) == Token(.accept, slot: 0, generation: 0))
    #expect(Token(.accept) != Token(.connect))
  }

  @Test func anUnknownKindIsNil() {
    #expect(Token(rawValue: .max).kind == nil)
    #expect(Token(rawValue: UInt64(Self.kinds.count) << 56).kind == nil)
  }

  /// Twice `--max-sessions` slots are made, for sessions that only finish their recording.
  @Test func slotsFitTheToken() {
    #expect(Limits.sessionsMaximum * 2 <= 1 << 24)
    Limits.checkRelations()
  }
}
