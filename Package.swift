// swift-tools-version: 6.2
import PackageDescription

// One library module holds everything that the hot path touches: generics are specialised within a module only.
let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .unsafeFlags(["-warnings-as-errors"]),
]

let package = Package(
  name: "uring-rawlog",
  products: [
    .executable(name: "uring-rawlog", targets: ["uring-rawlog"]),
    .executable(name: "rawlog", targets: ["rawlog"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .target(
      name: "CLibUring",
      linkerSettings: [.linkedLibrary("uring")]
    ),
    // Linked as a shared library: a security fix of OpenSSL comes with the system's package, not with ours. What does not
    // depend on this target is not linked to it.
    .target(
      name: "COpenSSL",
      linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]
    ),
    .target(
      name: "UringRawlog",
      dependencies: ["CLibUring", "COpenSSL"],
      swiftSettings: swiftSettings
    ),
    .target(
      name: "CBench",
      linkerSettings: [.linkedLibrary("uring"), .linkedLibrary("ssl"), .linkedLibrary("crypto")]
    ),
    // What is recorded in the benchmark of the drop-in; started once a session, so it is not of Swift.
    .executableTarget(name: "bench-server", path: "Sources/BenchServer"),
    .target(
      name: "Benchmarks",
      dependencies: ["CBench", "UringRawlog"],
      swiftSettings: swiftSettings
    ),
    .executableTarget(
      name: "uring-rawlog",
      dependencies: [
        "Benchmarks",
        "UringRawlog",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Sources/Command",
      swiftSettings: swiftSettings
    ),
    // Started once a session, so it is small and static, and has nothing of OpenSSL or name resolution: what it shares
    // with the library it compiles itself, from links to the same files.
    .executableTarget(
      name: "rawlog",
      dependencies: ["CLibUring"],
      path: "Sources/Postlogin",
      swiftSettings: swiftSettings,
      linkerSettings: [.unsafeFlags(["-static-executable", "-Xlinker", "-s"], .when(configuration: .release))]
    ),
    .testTarget(
      name: "PostloginTests",
      dependencies: ["rawlog"],
      swiftSettings: swiftSettings
    ),
    .testTarget(
      name: "UringRawlogTests",
      dependencies: ["Benchmarks", "UringRawlog"],
      swiftSettings: swiftSettings
    ),
  ]
)
