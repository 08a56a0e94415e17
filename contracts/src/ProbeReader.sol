// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {HostingParties, IGate} from "./interfaces/IGate.sol";
import {IMatcher} from "./interfaces/IMatcher.sol";
import {IParameters} from "./interfaces/IParameters.sol";
import {Probe, Slot} from "./interfaces/IProbeBoard.sol";
import {Commitment, Version} from "./interfaces/IRegistry.sol";
import {IStakeVault, SeatDraw} from "./interfaces/IStakeVault.sol";
import {Draw} from "./libraries/Draw.sol";
import {Leaves} from "./libraries/Leaves.sol";
import {Messages, ProbeResult, ProbeTicket} from "./libraries/Messages.sol";
import {Proof, Tree} from "./libraries/Tree.sol";
import {Registry} from "./Registry.sol";

/// @notice What a prover lays open so that the owner opens the answer.
struct ProbeRequest {
    Slot slot;
    ProbeTicket ticket;
    bytes ticketSignature;
    ProbeResult result;
    bytes32 salt;
    bytes[] replies;
    bytes query;
}

/// @notice What opens an answer: the replies again, and the leaf.
struct ProbeOpening {
    Slot slot;
    bytes32 salt;
    bytes[] replies;
    bytes32 blinding;
    bytes answerSpec;
    Proof proof;
}

/// @notice What a request shows, once it is seen to be what the prover committed to.
struct ProbeReading {
    uint8 mode;
    uint32 index;
    uint64 expiresAt;
    bytes32 ticketId;
    bytes32 observedCommit;
    bytes32 queryHash;
}

/// @title What a probe is: who was drawn for it, whether a result is the one committed to, what its answer is worth
/// @notice Holds nothing but the keys that sign tickets, with their history.
contract ProbeReader {
    using Checkpoints for Checkpoints.Trace208;
    using Messages for ProbeTicket;
    using Messages for ProbeResult;

    uint256 public constant SLOTS = 16;
    uint256 public constant REPLIES_MAX = 4;
    bytes32 internal constant PROVER = "prover";

    Registry public immutable registry;
    IGate public immutable gate;
    IStakeVault public immutable vault;
    IBeacon public immutable beacon;
    IParameters public immutable parameters;
    address public immutable court;
    IMatcher public immutable tilt;
    IMatcher public immutable verbatim;

    mapping(uint256 modelId => Checkpoints.Trace208) private _ticketSigners;

    /// @notice Tickets of a model are signed by this key from now on.
    event TicketSignerSet(uint256 indexed modelId, address indexed signer);

    /// @dev The caller does not control the model.
    error Probe_NotController(uint256 modelId, address caller);
    /// @dev What was shown is not what was committed to; `fact` says where it differs.
    error Probe_BadResult(bytes32 fact);

    constructor(
        Registry registry_,
        IGate gate_,
        IStakeVault vault_,
        address court_,
        IMatcher tilt_,
        IMatcher verbatim_
    ) {
        registry = registry_;
        gate = gate_;
        vault = vault_;
        beacon = registry_.beacon();
        parameters = registry_.parameters();
        court = court_;
        tilt = tilt_;
        verbatim = verbatim_;
    }

    /// @notice Names the key that signs tickets from now on: an account without code, with a history.
    function setTicketSigner(uint256 modelId, address signer) external {
        require(registry.controllerOf(modelId) == msg.sender, Probe_NotController(modelId, msg.sender));
        require(signer.code.length == 0, Probe_BadResult("signer has code"));
        _ticketSigners[modelId].push(uint48(block.timestamp), uint160(signer));
        emit TicketSignerSet(modelId, signer);
    }

    /// @notice Who probes a hosting in an epoch, and with which leaves: slot by slot, both without replacement.
    function draw(uint256 hostingId, uint32 epoch)
        public
        view
        returns (address[] memory provers, uint32[] memory leaves)
    {
        bytes32 seed = keccak256(abi.encode("loyal/probe/1", beacon.seed(epoch), hostingId));
        bytes32 roll = vault.rollOf(court, PROVER);
        uint48 cutoff = uint48(parameters.epochStart(epoch));
        provers = vault.drawSeats(SeatDraw(roll, seed, cutoff, SLOTS, new address[](0)));
        (, Commitment memory commitment) = commitmentOf(hostingId);
        (uint32 start, uint32 size) = Leaves.forProbes(commitment.leafCount);
        uint256[] memory places = Draw.places(keccak256(abi.encode(seed, "leaves")), size, SLOTS);
        leaves = new uint32[](places.length);
        for (uint256 i = 0; i < places.length; ++i) {
            leaves[i] = start + uint32(places[i]);
        }
    }

    /// @notice What a request shows of a result of `prover`; reverts where it is not the one with `resultId`.
    function read(ProbeRequest calldata request, address prover, bytes32 resultId)
        external
        view
        returns (ProbeReading memory)
    {
        _checkResult(request, resultId);
        _checkTicket(request, prover);
        _verifyTicket(request);
        ProbeTicket calldata ticket = request.ticket;
        ProbeResult calldata result = request.result;
        return ProbeReading(
            result.mode, ticket.index, ticket.expiresAt, result.ticketId, result.observedCommit, ticket.queryHash
        );
    }

    /// @notice The coins in an opened answer.
    function weigh(ProbeOpening calldata opening, Probe calldata probe)
        external
        view
        returns (uint32 k, uint16 hits, uint16 coins)
    {
        bytes32 observed = keccak256(abi.encode(opening.salt, probe.ticketId, opening.replies));
        require(observed == probe.observedCommit, Probe_BadResult("replies"));
        return _match(_checkLeaf(opening, probe), opening);
    }

    /// @notice The commitment that a hosting's version stands on.
    function commitmentOf(uint256 hostingId) public view returns (bytes32 id, Commitment memory commitment) {
        id = _versionOf(hostingId).commitment;
        commitment = registry.commitmentOf(id);
    }

    /// @notice Who signed tickets of a model at a time.
    function ticketSignerAt(uint256 modelId, uint48 time) public view returns (address) {
        return address(uint160(_ticketSigners[modelId].upperLookup(time)));
    }

    function _checkResult(ProbeRequest calldata request, bytes32 resultId) private view {
        ProbeResult calldata result = request.result;
        require(registry.digest(result.hash()) == resultId, Probe_BadResult("result"));
        bytes[] calldata replies = request.replies;
        require(replies.length != 0 && replies.length <= REPLIES_MAX, Probe_BadResult("number of replies"));
        for (uint256 i = 0; i < replies.length; ++i) {
            // Reverts where a reply is not a list of pieces: its prover, not the owner, would be to blame.
            abi.decode(replies[i], (bytes[]));
        }
        bytes32 observed = keccak256(abi.encode(request.salt, result.ticketId, replies));
        require(observed == result.observedCommit, Probe_BadResult("replies"));
        require(result.mode <= 2, Probe_BadResult("mode"));
    }

    function _checkTicket(ProbeRequest calldata request, address prover) private view {
        (ProbeTicket calldata ticket, Slot calldata slot) = (request.ticket, request.slot);
        HostingParties memory parties = gate.partiesOf(slot.hostingId);
        (, uint32[] memory leaves) = draw(slot.hostingId, slot.epoch);
        bool named = ticket.hostingId == slot.hostingId && ticket.epoch == slot.epoch && ticket.slot == slot.number
            && ticket.prover == prover && ticket.modelId == parties.modelId && ticket.version == parties.version;
        require(named && slot.number < leaves.length, Probe_BadResult("ticket"));
        require(ticket.index == leaves[slot.number], Probe_BadResult("leaf is not the drawn one"));
        uint64 start = parameters.epochStart(slot.epoch);
        uint64 end = parameters.epochStart(slot.epoch + 1);
        uint64 seen = request.result.observedAt;
        bool timely = ticket.expiresAt <= end && seen >= start && seen <= ticket.expiresAt;
        require(timely, Probe_BadResult("time"));
        require(keccak256(request.query) == ticket.queryHash, Probe_BadResult("query"));
    }

    function _verifyTicket(ProbeRequest calldata request) private view {
        bytes32 digest = registry.digest(request.ticket.hash());
        require(digest == request.result.ticketId, Probe_BadResult("ticket"));
        address expected = ticketSignerAt(request.ticket.modelId, uint48(request.result.observedAt));
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, request.ticketSignature);
        bool good = failure == ECDSA.RecoverError.NoError && signer == expected && expected != address(0);
        require(good, Probe_BadResult("ticket signature"));
    }

    function _checkLeaf(ProbeOpening calldata opening, Probe calldata probe) private view returns (bytes32) {
        Version memory version = _versionOf(opening.slot.hostingId);
        bytes32 leafRoot = version.terms.leafRoot;
        Commitment memory commitment = registry.commitmentOf(version.commitment);
        bool place = opening.proof.index == probe.index && opening.proof.count == commitment.leafCount;
        require(place, Probe_BadResult("leaf"));
        bytes32 digest = Leaves.digest(probe.queryHash, opening.blinding, opening.answerSpec);
        Tree.check(opening.proof, digest, 0, 0, leafRoot);
        return Leaves.secret(opening.blinding, leafRoot, beacon.seed(commitment.beaconEpoch), probe.index);
    }

    function _match(bytes32 secret, ProbeOpening calldata opening) private view returns (uint32, uint16, uint16) {
        (string memory scheme, bytes memory parameters_) = abi.decode(opening.answerSpec, (string, bytes));
        bytes32 name = keccak256(bytes(scheme));
        if (name == keccak256("tilt")) return tilt.count(secret, parameters_, opening.replies);
        require(name == keccak256("verbatim"), Probe_BadResult("scheme"));
        return verbatim.count(secret, parameters_, opening.replies);
    }

    function _versionOf(uint256 hostingId) private view returns (Version memory) {
        HostingParties memory parties = gate.partiesOf(hostingId);
        return registry.versionOf(parties.modelId, parties.version);
    }
}
