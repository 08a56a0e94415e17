// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Where a hosting stands.
enum HostingState {
    None,
    Requested,
    Bonded,
    Delivered,
    Active,
    Paused,
    Exiting,
    Closed
}

/// @notice What refuses an unnoticed use: nothing, our software, or an attested image.
enum Level {
    Open,
    Gated,
    Enclaved
}

/// @notice A host's bonded right to serve one version.
/// @dev `nextEpoch` is the first epoch without a report; `servedUntil` the last epoch in which the hosting served, the
/// largest number while it serves; `bondRequired` what the bond must reach before it resumes; `reported` all that was
/// ever reported.
struct Hosting {
    uint256 modelId;
    address host;
    uint32 version;
    Level level;
    HostingState state;
    uint16 convictions;
    address asset;
    uint32 nextEpoch;
    uint32 servedUntil;
    uint128 price;
    uint128 bondRequired;
    uint128 reported;
    uint64 exitsAt;
    bytes32 endpointHash;
    bytes32 position;
}

/// @notice Who is behind a hosting.
struct HostingParties {
    uint256 modelId;
    uint32 version;
    address host;
    address asset;
}

/// @title Hostings, as others see them
interface IGate {
    /// @notice Who is behind a hosting; cheaper than all of it.
    function partiesOf(uint256 hostingId) external view returns (HostingParties memory);

    /// @notice A hosting.
    function hostingOf(uint256 hostingId) external view returns (Hosting memory);
}
