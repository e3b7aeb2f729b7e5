// swift-tools-version: 6.2
import PackageDescription

// One library module holds everything that the hot path touches: generics are specialised within a module only.
let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .unsafeFlags(["-warnings-as-errors"]),
]

// The drop-in is started once a session, and setting up the Swift runtime took most of its time. A release build of it is
// Embedded Swift, which has none; a debug build, which unit tests reach into, has it. To run these tests against a release
// build, or where the toolchain lacks Embedded Swift: URING_RAWLOG_WHOLE_RUNTIME=1.
let hasWholeRuntime = Context.environment["URING_RAWLOG_WHOLE_RUNTIME"] != nil
let dropInSettings: [SwiftSetting] =
  hasWholeRuntime
  ? []
  : [
    .enableExperimentalFeature("Embedded", .when(configuration: .release)),
    .unsafeFlags(
      [
        "-no-static-stdlib",
        // A module named Glibc in the place of the one that needs the runtime.
        "-Xcc", "-fmodule-map-file=\(Context.packageDirectory)/Sources/EmbeddedGlibc/module.modulemap",
      ],
      .when(configuration: .release)),
  ]

// What links with the drop-in gets these too, and the libraries for tests are shared ones.
let dropInLinkerSettings: [LinkerSetting] =
  hasWholeRuntime
  ? [] : [.unsafeFlags(["-static-executable", "-Xlinker", "-s"], .when(configuration: .release))]

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
    .target(name: "CZstd", linkerSettings: [.linkedLibrary("zstd")]),
    .target(
      name: "UringRawlog",
      dependencies: ["CLibUring", "COpenSSL", "CZstd"],
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
      swiftSettings: swiftSettings + dropInSettings,
      linkerSettings: dropInLinkerSettings
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
