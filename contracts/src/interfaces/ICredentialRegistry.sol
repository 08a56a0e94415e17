// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Credential} from "../libraries/Messages.sol";

/// @notice What `check` found, in the order it looks.
enum CredentialState {
    Good,
    BadSignature,
    OutOfDate,
    Revoked
}

/// @title Issuers of credentials, and what they took back
interface ICredentialRegistry {
    /// @notice Whether a credential permits at `time`, as far as issuer, dates and revocation go.
    function check(Credential calldata credential, address issuer, bytes calldata signature, uint256 time)
        external
        view
        returns (CredentialState);

    /// @notice When a credential was revoked in whatever way, zero where it is not.
    function revocationOf(Credential calldata credential) external view returns (uint64 revoked);

    /// @notice When a contract's signature under a credential was seen to be good.
    function recordedAt(bytes32 credentialId) external view returns (uint64);
}
