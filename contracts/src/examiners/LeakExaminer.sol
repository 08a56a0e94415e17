// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Gate} from "../Gate.sol";
import {IDisputeCourt, Outcome} from "../interfaces/IDisputeCourt.sol";
import {IExaminer, Accusation, Penalty} from "../interfaces/IExaminer.sol";
import {Hosting} from "../interfaces/IGate.sol";
import {Commitment, Version} from "../interfaces/IRegistry.sol";
import {Destination} from "../interfaces/IStakeVault.sol";
import {Delivery, Messages} from "../libraries/Messages.sol";
import {Proof, Tree} from "../libraries/Tree.sol";
import {Registry} from "../Registry.sol";
import {Examiner} from "./Examiner.sol";

/// @notice A leaf that fired where nobody may serve: where it stands in the commitment, and in the subset of a copy.
struct FiredLeaf {
    bytes32 digest;
    Proof leaf;
    Proof subset;
}

/// @notice What shows that a host's copy runs somewhere else.
struct LeakEvidence {
    uint256 hostingId;
    bytes32 endpointHash;
    bytes32 transcriptHash;
    FiredLeaf[] fired;
    Delivery delivery;
    bytes signature;
}

/// @title E2_LEAK: a host's own copy serves at an endpoint that nobody registered
/// @notice The contract sees that so many leaves of one copy can be no chance; a jury sees that they fired there. Only a copy that was
/// built where its owner could not keep it costs the bond: an owner holds every other copy too.
contract LeakExaminer is Examiner {
    using Messages for Delivery;

    /// @notice One in so many is the chance to accuse a host by accident.
    uint256 public constant ERROR_DIVISOR = 1_000;
    uint16 internal constant ATTESTED_BPS = 5_000;

    Registry public immutable registry;
    Gate public immutable gate;

    /// @notice Whether the copy of a claim came from an attested build.
    mapping(bytes32 claimId => bool) public isAttested;

    /// @notice A copy's leaves fired at an endpoint.
    event LeakShown(
        bytes32 indexed claimId, uint256 indexed hostingId, bytes32 endpointHash, bytes32 transcriptHash, bool attested
    );

    constructor(address court_, Gate gate_, Registry registry_) Examiner(court_) {
        gate = gate_;
        registry = registry_;
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(LeakEvidence)`; without a delivery whose build is allowed the copy is not attested.
    function open(bytes32 claimId, address, bytes calldata data) external onlyCourt returns (Accusation memory) {
        LeakEvidence memory evidence = abi.decode(data, (LeakEvidence));
        Hosting memory hosting = gate.hostingOf(evidence.hostingId);
        require(evidence.endpointHash != hosting.endpointHash, Examiner_BadEvidence("endpoint is registered"));
        require(evidence.fired.length >= firedMin(), Examiner_BadEvidence("too few leaves"));
        (, bytes32 subsetRoot) = gate.copyOf(evidence.hostingId);
        require(subsetRoot != 0, Examiner_BadEvidence("copy is not traced"));
        _checkLeaves(evidence.fired, hosting, subsetRoot);
        isAttested[claimId] = _isAttested(evidence, hosting.modelId, subsetRoot);
        emit LeakShown(claimId, evidence.hostingId, evidence.endpointHash, evidence.transcriptHash, isAttested[claimId]);
        return Accusation({
            hostingId: evidence.hostingId,
            modelId: hosting.modelId,
            beneficiary: 0,
            version: hosting.version,
            epoch: 0,
            accused: hosting.host,
            subject: keccak256(abi.encode("leak", evidence.hostingId, evidence.transcriptHash)),
            proven: false,
            jury: true
        });
    }

    /// @inheritdoc IExaminer
    function plead(bytes32, bytes calldata) external override onlyCourt {}

    /// @inheritdoc IExaminer
    function weigh(bytes32, Outcome outcome, uint16, uint16) external pure override returns (Outcome) {
        return outcome == Outcome.Forged ? Outcome.Dismissed : outcome;
    }

    /// @inheritdoc IExaminer
    function penalty(bytes32 claimId) external view returns (Penalty memory) {
        return Penalty(0, isAttested[claimId] ? ATTESTED_BPS : 0, true, new Destination[](0));
    }

    /// @notice How many leaves of one copy must fire: the logarithm of all hostings over the chance of error.
    function firedMin() public view returns (uint256 bits) {
        uint256 suspects = gate.hostingCount() * ERROR_DIVISOR;
        while (uint256(1) << bits < suspects) {
            ++bits;
        }
    }

    /// @dev Leaves come in rising order, so that none counts twice; each is burnt.
    function _checkLeaves(FiredLeaf[] memory fired, Hosting memory hosting, bytes32 subsetRoot) private {
        Version memory version = registry.versionOf(hosting.modelId, hosting.version);
        Commitment memory commitment = registry.commitmentOf(version.commitment);
        for (uint256 i = 0; i < fired.length; ++i) {
            FiredLeaf memory one = fired[i];
            bool next = i == 0 || one.leaf.index > fired[i - 1].leaf.index;
            require(next && one.leaf.count == commitment.leafCount, Examiner_BadEvidence("order of leaves"));
            Tree.check(one.leaf, one.digest, 0, 0, version.terms.leafRoot);
            Tree.check(one.subset, one.digest, 0, 0, subsetRoot);
            IDisputeCourt(court).burnLeaf(version.commitment, one.leaf.index);
        }
    }

    function _isAttested(LeakEvidence memory evidence, uint256 modelId, bytes32 subsetRoot)
        private
        view
        returns (bool)
    {
        Delivery memory delivery = evidence.delivery;
        bool same = delivery.hostingId == evidence.hostingId && delivery.subsetRoot == subsetRoot;
        if (!same || gate.imageUntil(modelId, delivery.build) <= delivery.deliveredAt) return false;
        address expected = gate.signerAt(evidence.hostingId, uint48(delivery.deliveredAt));
        (address signer, ECDSA.RecoverError failure,) =
            ECDSA.tryRecover(registry.digest(delivery.hash()), evidence.signature);
        return failure == ECDSA.RecoverError.NoError && signer == expected && expected != address(0);
    }
}
