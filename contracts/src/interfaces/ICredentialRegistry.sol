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
}
