// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Claim, ClaimState, IDisputeCourt, Outcome} from "../interfaces/IDisputeCourt.sol";
import {IBeacon} from "../interfaces/IBeacon.sol";
import {IExaminer, Accusation, Penalty} from "../interfaces/IExaminer.sol";
import {IParameters} from "../interfaces/IParameters.sol";
import {Commitment, Version, VersionState} from "../interfaces/IRegistry.sol";
import {Draw} from "../libraries/Draw.sol";
import {Evidence} from "../libraries/Evidence.sol";
import {Leaves} from "../libraries/Leaves.sol";
import {Proof, Tree} from "../libraries/Tree.sol";
import {Registry} from "../Registry.sol";
import {Examiner} from "./Examiner.sol";

/// @notice A leaf laid open for the jury.
struct LeafOpening {
    uint32 place;
    bytes query;
    bytes32 blinding;
    bytes answerSpec;
    Proof proof;
}

/// @notice Who claims which version, with coins of one chance in `k`, out of `rounds` times 64 leaves.
struct OwnershipEvidence {
    uint256 modelId;
    uint32 version;
    uint256 accusedModel;
    uint32 accusedVersion;
    uint32 k;
    uint8 rounds;
}

/// @title E2_OWNERSHIP: a registered version is somebody else's model
/// @notice The Beacon draws leaves of the claimant's earlier commitment after the claim; the claimant lays them open, the jury asks them
/// of the accused version's public weights. A ballot that says "upheld" counts as that only with enough evidence.
contract OwnershipExaminer is Examiner {
    /// @notice What a claim is about.
    struct Case {
        bytes32 commitment;
        bytes32 leafRoot;
        uint32 k;
        uint32 leafCount;
        uint32 seedEpoch;
        uint16 drawn;
        uint16 opened;
        int64 bitsMin;
    }

    /// @notice 40 bits, in steps of 2^-32, and the logarithm of the claimant's commitments on top.
    int64 public constant BITS_MIN = int64(40) << 32;
    uint16 public constant ROUND_LEAVES = 64;
    uint8 public constant ROUNDS_MAX = 4;
    uint16 public constant TRIALS_MAX = 4_096;
    /// @notice How far up a declared ancestor is looked for.
    uint256 public constant GENERATIONS_MAX = 32;

    Registry public immutable registry;
    IBeacon public immutable beacon;
    IParameters public immutable parameters;

    mapping(bytes32 claimId => Case) private _cases;
    mapping(bytes32 claimId => mapping(uint32 place => bool)) public isOpened;

    /// @notice A drawn leaf, for everybody to ask.
    event LeafOpened(bytes32 indexed claimId, uint32 index, bytes query, bytes32 secret, bytes answerSpec);

    constructor(address court_, Registry registry_, IBeacon beacon_, IParameters parameters_) Examiner(court_) {
        registry = registry_;
        beacon = beacon_;
        parameters = parameters_;
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(OwnershipEvidence)`.
    function open(bytes32 claimId, address claimant, bytes calldata data)
        external
        onlyCourt
        returns (Accusation memory)
    {
        OwnershipEvidence memory evidence = abi.decode(data, (OwnershipEvidence));
        require(registry.controllerOf(evidence.modelId) == claimant, Examiner_BadEvidence("claimant's model"));
        Version memory mine = registry.versionOf(evidence.modelId, evidence.version);
        Version memory theirs = registry.versionOf(evidence.accusedModel, evidence.accusedVersion);
        require(mine.state != VersionState.Revoked, Examiner_BadEvidence("claimant's version is revoked"));
        Commitment memory commitment = registry.commitmentOf(mine.commitment);
        uint64 since = registry.commitmentOf(theirs.commitment).committedAt;
        require(commitment.committedAt < since, Examiner_BadEvidence("commitment is not the earlier"));
        _checkLineage(evidence);
        _fill(_cases[claimId], evidence, mine, commitment);
        return Accusation({
            hostingId: 0,
            modelId: evidence.accusedModel,
            beneficiary: evidence.modelId,
            version: evidence.accusedVersion,
            epoch: 0,
            accused: registry.controllerOf(evidence.accusedModel),
            subject: keccak256(
                abi.encode("ownership", mine.commitment, evidence.accusedModel, evidence.accusedVersion)
            ),
            proven: false,
            jury: true
        });
    }

    /// @notice Lays drawn leaves open while the accused may answer; whoever knows them may. Each is burnt.
    function openLeaves(bytes32 claimId, LeafOpening[] calldata openings) external {
        Claim memory claim = IDisputeCourt(court).claimOf(claimId);
        bool open_ = claim.state == ClaimState.Open && block.timestamp <= claim.deadline;
        require(open_, Examiner_BadAnswer("claim is not open"));
        Case storage entry = _cases[claimId];
        uint32[] memory leaves = leavesOf(claimId);
        entry.opened += uint16(openings.length);
        for (uint256 i = 0; i < openings.length; ++i) {
            _openLeaf(claimId, entry, leaves, openings[i]);
        }
    }

    /// @inheritdoc IExaminer
    function plead(bytes32, bytes calldata) external override onlyCourt {}

    /// @inheritdoc IExaminer
    /// @dev A claimant who lays nothing open has shown nothing.
    function stands(bytes32 claimId) external view override returns (bool) {
        return _cases[claimId].opened != 0;
    }

    /// @inheritdoc IExaminer
    /// @dev Leaves that stayed closed count as one coin each, on the side that gives fewer bits.
    function weigh(bytes32 claimId, Outcome outcome, uint16 hits, uint16 trials)
        external
        view
        override
        returns (Outcome)
    {
        Case memory entry = _cases[claimId];
        if (outcome != Outcome.Upheld || trials > TRIALS_MAX) return Outcome.Dismissed;
        int64 bits = Evidence.adverse(entry.k, hits, trials, entry.drawn - entry.opened);
        return bits >= entry.bitsMin ? Outcome.Upheld : Outcome.Dismissed;
    }

    /// @inheritdoc IExaminer
    function penalty(bytes32) external pure returns (Penalty memory none) {
        return none;
    }

    /// @notice The leaves that the Beacon drew for a claim, in order.
    function leavesOf(bytes32 claimId) public view returns (uint32[] memory leaves) {
        Case memory entry = _cases[claimId];
        bytes32 seed = keccak256(abi.encode("loyal/ownership/1", beacon.seed(entry.seedEpoch), claimId));
        (uint32 start, uint32 size) = Leaves.forOwnership(entry.leafCount);
        uint256[] memory places = Draw.places(seed, size, entry.drawn);
        leaves = new uint32[](places.length);
        for (uint256 i = 0; i < places.length; ++i) {
            leaves[i] = start + uint32(places[i]);
        }
    }

    /// @notice What a claim is about.
    function caseOf(bytes32 claimId) external view returns (Case memory) {
        return _cases[claimId];
    }

    function _fill(
        Case storage entry,
        OwnershipEvidence memory evidence,
        Version memory mine,
        Commitment memory commitment
    ) private {
        bool counts = evidence.rounds != 0 && evidence.rounds <= ROUNDS_MAX && evidence.k >= 2 && evidence.k <= 256;
        require(counts, Examiner_BadEvidence("rounds or chance"));
        (, uint32 size) = Leaves.forOwnership(commitment.leafCount);
        uint32 wanted = uint32(evidence.rounds) * ROUND_LEAVES;
        entry.commitment = mine.commitment;
        entry.leafRoot = mine.terms.leafRoot;
        entry.k = evidence.k;
        entry.leafCount = commitment.leafCount;
        entry.seedEpoch = parameters.epochAt(block.timestamp) + 1;
        entry.drawn = uint16(wanted < size ? wanted : size);
        entry.bitsMin = BITS_MIN + Evidence.log2(registry.commitmentCount(commitment.committer), 1);
    }

    function _openLeaf(bytes32 claimId, Case storage entry, uint32[] memory leaves, LeafOpening calldata opening)
        private
    {
        bool fresh = opening.place < leaves.length && !isOpened[claimId][opening.place];
        require(fresh && opening.proof.index == leaves[opening.place], Examiner_BadEvidence("leaf is not drawn"));
        require(opening.proof.count == entry.leafCount, Examiner_BadEvidence("leaf"));
        require(_chanceOf(opening.answerSpec) == entry.k, Examiner_BadEvidence("another chance"));
        isOpened[claimId][opening.place] = true;
        uint32 index = opening.proof.index;
        bytes32 digest = Leaves.digest(keccak256(opening.query), opening.blinding, opening.answerSpec);
        Tree.check(opening.proof, digest, 0, 0, entry.leafRoot);
        bytes32 seed = beacon.seed(registry.commitmentOf(entry.commitment).beaconEpoch);
        bytes32 secret = Leaves.secret(opening.blinding, entry.leafRoot, seed, index);
        emit LeafOpened(claimId, index, opening.query, secret, opening.answerSpec);
        IDisputeCourt(court).burnLeaf(entry.commitment, index);
    }

    /// @dev A version that names the claimant's model as an ancestor owes royalty, and nothing else.
    function _checkLineage(OwnershipEvidence memory evidence) private view {
        (uint256 model, uint32 version) = (evidence.accusedModel, evidence.accusedVersion);
        for (uint256 i = 0; i <= GENERATIONS_MAX && model != 0; ++i) {
            require(model != evidence.modelId, Examiner_BadEvidence("declared parent"));
            (model, version) = registry.parentOf(model, version);
        }
    }

    /// @dev Zero where the scheme is unknown.
    function _chanceOf(bytes calldata answerSpec) private pure returns (uint256) {
        (string memory scheme, bytes memory rule) = abi.decode(answerSpec, (string, bytes));
        bytes32 name = keccak256(bytes(scheme));
        if (name == keccak256("tilt")) return 2;
        return name == keccak256("verbatim") ? abi.decode(rule, (bytes[])).length : 0;
    }
}
