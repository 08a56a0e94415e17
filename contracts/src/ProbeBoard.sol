// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Gate} from "./Gate.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {HostingParties, HostingState} from "./interfaces/IGate.sol";
import {IParameters} from "./interfaces/IParameters.sol";
import {IProbeBoard, Probe, ProbeState, Slot, Summary} from "./interfaces/IProbeBoard.sol";
import {Destination} from "./interfaces/IStakeVault.sol";
import {Count, ProbeCount} from "./libraries/ProbeCount.sol";
import {ProbeOpening, ProbeReader, ProbeReading, ProbeRequest} from "./ProbeReader.sol";
import {Registry} from "./Registry.sol";
import {Pool, RevenueRouter} from "./RevenueRouter.sol";

/// @notice The other contracts the board knows.
struct BoardParties {
    Registry registry;
    Gate gate;
    RevenueRouter router;
    ProbeReader reader;
    IDisputeCourt court;
    IERC20 currency;
    address examiner;
}

/// @notice What a prover commits to for a slot; a result of zero says that the owner gave no ticket.
struct ResultCommit {
    uint256 hostingId;
    uint16 slot;
    bytes32 resultId;
}

/// @title Keeps what provers saw, and counts it
/// @notice Neither prover nor owner chooses: the seed draws both prover and leaf, the prover commits before it can know the answer,
/// and an owner who gives no ticket or opens no answer adds a coin against itself. One count for each hosting and
/// window of 180 days; nobody picks results.
contract ProbeBoard is IProbeBoard, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using ProbeCount for Count;

    /// @notice The count of a window. A claim holds it; an upheld one begins another generation.
    struct Ledger {
        uint32 generation;
        uint32 pending;
        uint32 deferred;
        bool held;
        mapping(uint32 generation => Count) counts;
    }

    /// @notice An epoch's pool for provers in one asset.
    struct Pot {
        bool fixed_;
        uint256 each;
    }

    uint32 public constant WINDOW_EPOCHS = 180;
    /// @notice The owner opens an answer within this time.
    uint64 public constant OPEN_SECONDS = 2 hours;
    /// @notice Answers are asked for once the report is there, or so long after the epoch's end.
    uint64 public constant REPORT_SECONDS = 30 hours;
    uint64 public constant REQUEST_SECONDS = 30 days;
    /// @notice A prover without a ticket so late in an epoch may say so.
    uint64 public constant TICKET_SECONDS = 12 hours;
    uint64 public constant FINE_SECONDS = 7 days;
    /// @notice What an answer that stays closed costs its owner.
    uint256 public constant UNOPENED_COST = 10e18;
    uint16 public constant NO_COMMIT_BPS = 100;
    uint16 public constant FORGED_BPS = 2_500;
    bytes32 internal constant PROVER = "prover";

    Registry public immutable registry;
    Gate public immutable gate;
    RevenueRouter public immutable router;
    ProbeReader public immutable reader;
    IParameters public immutable parameters;
    IDisputeCourt public immutable court;
    IERC20 public immutable currency;
    /// @notice The examiner of E2_UNREPORTED.
    address public immutable examiner;

    /// @notice The first epoch in which a hosting was probed, plus one.
    mapping(uint256 hostingId => uint32) public firstEpochOf;
    /// @notice How many results a model's provers committed in an epoch.
    mapping(uint256 modelId => mapping(uint32 epoch => uint32)) public resultsOf;
    /// @notice What an owner put aside for answers it does not open, and how many it is asked to open now.
    mapping(uint256 modelId => uint256) public purseOf;
    mapping(uint256 modelId => uint256) public pendingOf;
    /// @notice Whether somebody asked to open a leaf.
    mapping(bytes32 commitment => mapping(uint32 index => bool)) public isRequested;
    /// @notice Whether a slot was paid in an asset.
    mapping(bytes32 slotId => mapping(address asset => bool)) public isPaid;

    mapping(bytes32 slotId => Probe) private _probes;
    mapping(bytes32 slotId => bool) private _fined;
    mapping(uint256 hostingId => mapping(uint32 window => Ledger)) private _ledgers;
    mapping(uint256 modelId => mapping(uint32 epoch => mapping(address asset => Pot))) private _pots;

    /// @notice An owner's purse grew or shrank.
    event PurseChanged(uint256 indexed modelId, uint256 purse);
    /// @notice A prover committed to a result; zero where it had no ticket.
    event ResultCommitted(
        uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address indexed prover, bytes32 resultId
    );
    /// @notice A result lies open, and waits for its answer.
    event AnswerRequested(
        uint256 indexed hostingId,
        uint32 indexed epoch,
        uint16 slot,
        uint32 index,
        bytes query,
        bytes32 salt,
        bytes[] replies
    );
    /// @notice An answer is open.
    event ResultOpened(
        uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, uint32 k, uint16 hits, uint16 coins
    );
    /// @notice An answer stayed closed; its prover got `paid` LOYAL.
    event ResultUnopened(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, uint256 paid);
    /// @notice A probe counts no more.
    event ResultStruck(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, bool forged);
    /// @notice A claim holds a window's count, or holds it no more.
    event Held(uint256 indexed hostingId, uint32 indexed window, bool held, uint32 generation);
    /// @notice A prover was paid for a slot.
    event ProverPaid(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address asset, uint256 amount);
    /// @notice A prover lost a part of its seat for a slot it left empty.
    event ProverFined(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address prover, uint128 amount);

    /// @dev The caller does not control the model.
    error Probe_NotController(uint256 modelId, address caller);
    /// @dev Only the examiner does this.
    error Probe_NotExaminer(address caller);
    /// @dev The account was not drawn for this slot, or is a party.
    error Probe_NotDrawn(address account);
    /// @dev The probe is in another state than this needs.
    error Probe_BadState(ProbeState state);
    /// @dev It is not the time for this.
    error Probe_TooEarly();
    error Probe_Late();
    /// @dev The hosting does not serve.
    error Probe_NotServing(uint256 hostingId);
    /// @dev A claim holds the count.
    error Probe_Held(uint256 hostingId, uint32 window);
    /// @dev The purse must cover what is asked.
    error Probe_PurseBound(uint256 purse);
    /// @dev The slot was paid, or there is nothing to pay.
    error Probe_NothingDue();

    modifier onlyExaminer() {
        require(msg.sender == examiner, Probe_NotExaminer(msg.sender));
        _;
    }

    modifier onlyController(uint256 modelId) {
        require(registry.controllerOf(modelId) == msg.sender, Probe_NotController(modelId, msg.sender));
        _;
    }

    constructor(BoardParties memory parties) {
        registry = parties.registry;
        gate = parties.gate;
        router = parties.router;
        reader = parties.reader;
        parameters = parties.gate.parameters();
        court = parties.court;
        currency = parties.currency;
        examiner = parties.examiner;
    }

    // --- what an owner sets

    /// @notice Adds LOYAL to a model's purse; anybody may.
    function fund(uint256 modelId, uint256 amount) external nonReentrant {
        purseOf[modelId] += amount;
        emit PurseChanged(modelId, purseOf[modelId]);
        currency.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Takes LOYAL out of a model's purse, as far as no open request needs it.
    function defund(uint256 modelId, address to, uint256 amount) external onlyController(modelId) nonReentrant {
        uint256 purse = purseOf[modelId];
        require(amount + pendingOf[modelId] * UNOPENED_COST <= purse, Probe_PurseBound(purse));
        purseOf[modelId] = purse - amount;
        emit PurseChanged(modelId, purse - amount);
        currency.safeTransfer(to, amount);
    }

    // --- a probe

    /// @notice Commits to results of the current epoch, or says that no ticket came.
    function commitResults(ResultCommit[] calldata results) external {
        uint32 epoch = parameters.epochAt(block.timestamp);
        for (uint256 i = 0; i < results.length; ++i) {
            _commit(epoch, results[i]);
        }
    }

    /// @notice Lays a result open whose receipt is not in the report; the owner has two hours to open the answer.
    function requestAnswer(ProbeRequest calldata request) external {
        Slot calldata slot = request.slot;
        Probe storage probe = _require(slot, ProbeState.Committed);
        require(msg.sender == probe.prover, Probe_NotDrawn(msg.sender));
        _checkRequestTime(slot);
        Ledger storage ledger = _free(slot);
        (bytes32 id,) = reader.commitmentOf(slot.hostingId);
        _note(probe, reader.read(request, probe.prover, probe.resultId));
        emit AnswerRequested(
            slot.hostingId, slot.epoch, slot.number, probe.index, request.query, request.salt, request.replies
        );
        if (isRequested[id][probe.index] || registry.isBurnt(id, probe.index)) {
            probe.state = ProbeState.Void;
            return;
        }
        isRequested[id][probe.index] = true;
        probe.state = ProbeState.Requested;
        probe.requestedAt = uint64(block.timestamp);
        probe.generation = ledger.generation;
        ++ledger.pending;
        ++pendingOf[request.ticket.modelId];
    }

    /// @notice Opens the answer to a result; whoever knows the leaf may, in time. The leaf is burnt.
    function openResult(ProbeOpening calldata opening) external {
        Slot calldata slot = opening.slot;
        Probe storage probe = _require(slot, ProbeState.Requested);
        require(block.timestamp <= probe.requestedAt + OPEN_SECONDS, Probe_Late());
        (probe.k, probe.hits, probe.coins) = reader.weigh(opening, probe);
        probe.state = ProbeState.Opened;
        _endRequest(slot);
        _countOf(slot, probe).add(probe);
        emit ResultOpened(slot.hostingId, slot.epoch, slot.number, probe.k, probe.hits, probe.coins);
        (bytes32 id,) = reader.commitmentOf(slot.hostingId);
        court.burnLeaf(id, probe.index);
    }

    /// @notice Ends a request that was not answered in time: a coin against the owner, and LOYAL for the prover.
    function expire(Slot calldata slot) external nonReentrant {
        Probe storage probe = _require(slot, ProbeState.Requested);
        require(block.timestamp > probe.requestedAt + OPEN_SECONDS, Probe_TooEarly());
        probe.state = ProbeState.Unopened;
        _countOf(slot, probe).unopened += 1;
        uint256 modelId = _endRequest(slot);
        uint256 purse = purseOf[modelId];
        uint256 paid = purse < UNOPENED_COST ? purse : UNOPENED_COST;
        purseOf[modelId] = purse - paid;
        emit ResultUnopened(slot.hostingId, slot.epoch, slot.number, paid);
        if (paid != 0) currency.safeTransfer(probe.prover, paid);
    }

    // --- money

    /// @notice Pays a slot its part of the epoch's pool in an asset: all that was pooled when the first slot is paid, in
    /// equal parts for every committed result.
    function payout(Slot calldata slot, address asset) external nonReentrant {
        require(block.timestamp >= parameters.epochStart(slot.epoch + 1), Probe_TooEarly());
        bytes32 id = slotId(slot);
        Probe storage probe = _probes[id];
        require(probe.resultId != 0 && !isPaid[id][asset], Probe_NothingDue());
        isPaid[id][asset] = true;
        uint256 each = _potOf(gate.partiesOf(slot.hostingId).modelId, slot.epoch, asset);
        require(each != 0, Probe_NothingDue());
        emit ProverPaid(slot.hostingId, slot.epoch, slot.number, asset, each);
        IERC20(asset).safeTransfer(probe.prover, each);
    }

    /// @notice Fines a prover that was drawn for a hosting that served, and left its slot empty; anybody may, once.
    function fine(Slot calldata slot) external {
        uint64 end = parameters.epochStart(slot.epoch + 1);
        require(block.timestamp >= end, Probe_TooEarly());
        require(block.timestamp < end + FINE_SECONDS, Probe_Late());
        bytes32 id = slotId(slot);
        bool empty = _probes[id].state == ProbeState.None && !_fined[id];
        require(empty, Probe_BadState(_probes[id].state));
        uint256 modelId = gate.partiesOf(slot.hostingId).modelId;
        uint48 start = uint48(parameters.epochStart(slot.epoch));
        bool served =
            gate.reportOf(slot.hostingId, slot.epoch).count != 0 && reader.ticketSignerAt(modelId, start) != address(0);
        require(served, Probe_NotServing(slot.hostingId));
        (address[] memory provers,) = reader.draw(slot.hostingId, slot.epoch);
        require(slot.number < provers.length, Probe_NotDrawn(address(0)));
        address prover = provers[slot.number];
        require(!_isParty(slot.hostingId, prover), Probe_NotDrawn(prover));
        _fined[id] = true;
        uint128 amount = court.slashSeat(PROVER, prover, NO_COMMIT_BPS);
        emit ProverFined(slot.hostingId, slot.epoch, slot.number, prover, amount);
    }

    // --- the examiner

    /// @inheritdoc IProbeBoard
    function hold(uint256 hostingId, uint32 window) external onlyExaminer {
        Ledger storage ledger = _ledgers[hostingId][window];
        require(!ledger.held && ledger.pending == 0, Probe_Held(hostingId, window));
        ledger.held = true;
        emit Held(hostingId, window, true, ledger.generation);
    }

    /// @inheritdoc IProbeBoard
    function strike(Slot calldata slot, bool forged) external onlyExaminer {
        Probe storage probe = _probes[slotId(slot)];
        ProbeState state = probe.state;
        require(state == ProbeState.Opened || state == ProbeState.Unopened, Probe_BadState(state));
        Ledger storage ledger = _ledgerOf(slot);
        require(ledger.held && ledger.generation == probe.generation, Probe_BadState(state));
        Count storage count = ledger.counts[probe.generation];
        if (state == ProbeState.Opened) count.remove(probe);
        else count.unopened -= 1;
        probe.state = forged ? ProbeState.Struck : ProbeState.Shown;
        emit ResultStruck(slot.hostingId, slot.epoch, slot.number, forged);
        if (forged) court.slashSeat(PROVER, probe.prover, FORGED_BPS);
    }

    /// @inheritdoc IProbeBoard
    function settle(uint256 hostingId, uint32 window, bool used) external onlyExaminer {
        Ledger storage ledger = _ledgers[hostingId][window];
        ledger.held = false;
        if (used) ++ledger.generation;
        ledger.counts[ledger.generation].unopened += ledger.deferred;
        ledger.deferred = 0;
        emit Held(hostingId, window, false, ledger.generation);
    }

    // --- views

    /// @inheritdoc IProbeBoard
    function probeOf(Slot calldata slot) external view returns (Probe memory) {
        return _probes[slotId(slot)];
    }

    /// @inheritdoc IProbeBoard
    function windowOf(uint256 hostingId, uint32 epoch) public view returns (uint32) {
        uint32 first = firstEpochOf[hostingId];
        if (first == 0 || epoch + 1 < first) return 0;
        return (epoch + 1 - first) / WINDOW_EPOCHS;
    }

    /// @inheritdoc IProbeBoard
    function summaryOf(uint256 hostingId, uint32 window) external view returns (Summary memory) {
        Ledger storage ledger = _ledgers[hostingId][window];
        Count storage count = ledger.counts[ledger.generation];
        return Summary(count.bits(), count.quorum(), count.attested, ledger.generation);
    }

    /// @inheritdoc IProbeBoard
    function partsOf(uint256 hostingId, uint32 window) external view returns (Destination[] memory) {
        Ledger storage ledger = _ledgers[hostingId][window];
        return ledger.counts[ledger.generation].parts();
    }

    /// @notice The id of a slot.
    function slotId(Slot calldata slot) public pure returns (bytes32) {
        return keccak256(abi.encode(slot));
    }

    // --- the straight parts

    function _commit(uint32 epoch, ResultCommit calldata entry) private {
        uint256 hostingId = entry.hostingId;
        HostingState state = gate.hostingOf(hostingId).state;
        bool serves = state == HostingState.Active || state == HostingState.Paused || state == HostingState.Exiting;
        require(serves, Probe_NotServing(hostingId));
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        bool drawn = entry.slot < provers.length && provers[entry.slot] == msg.sender;
        require(drawn && !_isParty(hostingId, msg.sender), Probe_NotDrawn(msg.sender));
        Probe storage probe = _probes[keccak256(abi.encode(Slot(hostingId, epoch, entry.slot)))];
        require(probe.state == ProbeState.None, Probe_BadState(probe.state));
        if (firstEpochOf[hostingId] == 0) firstEpochOf[hostingId] = epoch + 1;
        probe.prover = msg.sender;
        probe.resultId = entry.resultId;
        emit ResultCommitted(hostingId, epoch, entry.slot, msg.sender, entry.resultId);
        HostingParties memory parties = gate.partiesOf(hostingId);
        if (entry.resultId == 0) {
            require(block.timestamp >= parameters.epochStart(epoch) + TICKET_SECONDS, Probe_TooEarly());
            probe.state = ProbeState.Refused;
            Ledger storage ledger = _ledgers[hostingId][windowOf(hostingId, epoch)];
            if (ledger.held) ++ledger.deferred;
            else ledger.counts[ledger.generation].unopened += 1;
        } else {
            probe.state = ProbeState.Committed;
            probe.floor = registry.floorOf(parties.modelId, parties.asset).perCall;
            ++resultsOf[parties.modelId][epoch];
        }
    }

    function _checkRequestTime(Slot calldata slot) private view {
        uint64 end = parameters.epochStart(slot.epoch + 1);
        bool posted = gate.reportOf(slot.hostingId, slot.epoch).postedAt != 0;
        require(block.timestamp >= end && (posted || block.timestamp >= end + REPORT_SECONDS), Probe_TooEarly());
        require(block.timestamp < end + REQUEST_SECONDS, Probe_Late());
    }

    function _note(Probe storage probe, ProbeReading memory reading) private {
        probe.mode = reading.mode;
        probe.index = reading.index;
        probe.expiresAt = reading.expiresAt;
        probe.ticketId = reading.ticketId;
        probe.observedCommit = reading.observedCommit;
        probe.queryHash = reading.queryHash;
    }

    function _endRequest(Slot calldata slot) private returns (uint256 modelId) {
        modelId = gate.partiesOf(slot.hostingId).modelId;
        --pendingOf[modelId];
        --_ledgerOf(slot).pending;
    }

    /// @dev The first payment of an epoch takes all that lies in the model's pool, and divides it evenly.
    function _potOf(uint256 modelId, uint32 epoch, address asset) private returns (uint256) {
        Pot storage pot = _pots[modelId][epoch][asset];
        if (!pot.fixed_) {
            uint256 count = resultsOf[modelId][epoch];
            pot.fixed_ = true;
            pot.each = router.pooled(Pool.Provers, modelId, asset) / count;
            if (pot.each != 0) router.drawPool(Pool.Provers, modelId, asset, address(this), pot.each * count);
        }
        return pot.each;
    }

    function _countOf(Slot calldata slot, Probe storage probe) private view returns (Count storage) {
        return _ledgerOf(slot).counts[probe.generation];
    }

    function _ledgerOf(Slot calldata slot) private view returns (Ledger storage) {
        return _ledgers[slot.hostingId][windowOf(slot.hostingId, slot.epoch)];
    }

    function _free(Slot calldata slot) private view returns (Ledger storage ledger) {
        ledger = _ledgerOf(slot);
        require(!ledger.held, Probe_Held(slot.hostingId, windowOf(slot.hostingId, slot.epoch)));
    }

    function _require(Slot calldata slot, ProbeState state) private view returns (Probe storage probe) {
        probe = _probes[slotId(slot)];
        require(probe.state == state, Probe_BadState(probe.state));
    }

    function _isParty(uint256 hostingId, address account) private view returns (bool) {
        HostingParties memory parties = gate.partiesOf(hostingId);
        return account == parties.host || account == registry.controllerOf(parties.modelId);
    }
}
