// swift-tools-version: 6.2
import PackageDescription

// One library module holds everything that the hot path touches: generics are specialised within a module only.
let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .unsafeFlags(["-warnings-as-errors"]),
  // Each function by itself, and none kept only because it is public: the linker leaves out what a program does not use.
  // The drop-in uses little of the library.
  .unsafeFlags(
    ["-Xfrontend", "-function-sections", "-Xfrontend", "-internalize-at-link"], .when(configuration: .release)),
]

// Linked as shared libraries: a security fix of OpenSSL comes with the system's package, not with ours. Not a setting of
// COpenSSL, since the drop-in must not have it: its link fails when it comes to need any of it.
let openSSL: [LinkerSetting] = [.linkedLibrary("ssl"), .linkedLibrary("crypto")]
// Without optimization nothing is left out, and the drop-in is a dynamic executable.
let openSSLForDebugging: [LinkerSetting] = [
  .linkedLibrary("ssl", .when(configuration: .debug)), .linkedLibrary("crypto", .when(configuration: .debug)),
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
    .target(name: "COpenSSL"),
    .target(
      name: "UringRawlog",
      dependencies: ["CLibUring", "COpenSSL"],
      swiftSettings: swiftSettings
    ),
    .target(name: "CBench", linkerSettings: [.linkedLibrary("uring")]),
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
      swiftSettings: swiftSettings,
      linkerSettings: openSSL
    ),
    .executableTarget(
      name: "rawlog",
      dependencies: ["UringRawlog"],
      path: "Sources/Postlogin",
      swiftSettings: swiftSettings,
      linkerSettings: [.unsafeFlags(["-static-executable"], .when(configuration: .release))] + openSSLForDebugging
    ),
    .testTarget(
      name: "UringRawlogTests",
      dependencies: ["Benchmarks", "UringRawlog"],
      swiftSettings: swiftSettings,
      linkerSettings: openSSL
    ),
  ]
)
