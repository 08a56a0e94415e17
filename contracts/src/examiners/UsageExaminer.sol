// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../Gate.sol";
import {Outcome} from "../interfaces/IDisputeCourt.sol";
import {IExaminer, Accusation, Penalty} from "../interfaces/IExaminer.sol";
import {HostingParties} from "../interfaces/IGate.sol";
import {IProbeBoard, Probe, ProbeState, Slot, Summary} from "../interfaces/IProbeBoard.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Destination} from "../interfaces/IStakeVault.sol";
import {Messages, Receipt} from "../libraries/Messages.sol";
import {Proof, Tree} from "../libraries/Tree.sol";
import {Examiner} from "./Examiner.sol";

/// @notice A host's answer to one probe: the receipt of that invocation in the report, and what its request hash was made of.
struct ShownReceipt {
    Slot slot;
    Receipt receipt;
    Proof proof;
    bytes32 salt;
    bytes prompt;
    bytes32 paramsHash;
    uint256 querySize;
}

/// @title E2_UNREPORTED: a model ran and its host did not report it
/// @notice The count of a window must reach 22 bits, with coins of three provers. The host takes a probe out by the receipt of it, in
/// a report posted before the probe was laid open.
contract UsageExaminer is Examiner {
    using Messages for Receipt;

    /// @notice What a claim is about.
    struct Window {
        uint256 hostingId;
        uint32 number;
        bool pleaded;
    }

    /// @notice 22 bits, in steps of 2^-32.
    int64 public constant BITS_MIN = int64(22) << 32;
    uint32 public constant PROVERS_MIN = 3;
    /// @notice Within this time a second conviction takes the whole bond.
    uint64 public constant REPEAT_SECONDS = 180 days;
    uint256 public constant ACCUSED_MAX = 64;
    uint16 internal constant FIRST_BPS = 5_000;
    uint16 internal constant AGAIN_BPS = 10_000;

    IRegistry public immutable registry;
    Gate public immutable gate;
    IProbeBoard public immutable board;

    /// @notice When a hosting was convicted last.
    mapping(uint256 hostingId => uint64) public convictedAt;
    /// @notice Whether a receipt has answered a probe: it answers one.
    mapping(bytes32 receiptId => bool) public isUsed;

    mapping(bytes32 claimId => Window) private _windows;
    mapping(bytes32 claimId => Slot[]) private _doubted;
    mapping(bytes32 claimId => Destination[]) private _parts;
    mapping(bytes32 claimId => bool) private _isAgain;

    /// @notice A host showed a receipt.
    event ReceiptShown(bytes32 indexed claimId, bytes32 indexed receiptId, uint32 epoch, uint16 slot);
    /// @notice A host calls these probes forged.
    event Doubted(bytes32 indexed claimId, Slot[] slots);

    constructor(address court_, Gate gate_, IProbeBoard board_) Examiner(court_) {
        gate = gate_;
        registry = gate_.registry();
        board = board_;
    }

    /// @inheritdoc IExaminer
    /// @param evidence `abi.encode(uint256 hostingId, uint32 window)`; the board holds the rest.
    function open(bytes32 claimId, address, bytes calldata evidence) external onlyCourt returns (Accusation memory) {
        (uint256 hostingId, uint32 window) = abi.decode(evidence, (uint256, uint32));
        board.hold(hostingId, window);
        _windows[claimId] = Window(hostingId, window, false);
        Summary memory summary = board.summaryOf(hostingId, window);
        require(_suffices(summary), Examiner_BadEvidence("bits or provers"));
        HostingParties memory parties = gate.partiesOf(hostingId);
        return Accusation({
            hostingId: hostingId,
            modelId: parties.modelId,
            beneficiary: 0,
            version: parties.version,
            epoch: 0,
            accused: parties.host,
            subject: keccak256(abi.encode("unreported", hostingId, window)),
            proven: false,
            jury: summary.attested != 0
        });
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(ShownReceipt[])`; each takes one probe out. The claim ends once the rest does not suffice.
    function answer(bytes32 claimId, bytes calldata data) external override onlyCourt returns (bool) {
        ShownReceipt[] memory shown = abi.decode(data, (ShownReceipt[]));
        for (uint256 i = 0; i < shown.length; ++i) {
            _take(claimId, shown[i]);
        }
        return !stands(claimId);
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(Slot[])`: the probes the host calls forged; a jury decides about all of them.
    function plead(bytes32 claimId, bytes calldata data) external override onlyCourt {
        Slot[] memory slots = abi.decode(data, (Slot[]));
        require(slots.length != 0 && slots.length <= ACCUSED_MAX, Examiner_BadAnswer("number of slots"));
        Window memory window = _windows[claimId];
        uint32 generation = board.summaryOf(window.hostingId, window.number).generation;
        for (uint256 i = 0; i < slots.length; ++i) {
            Probe memory probe = board.probeOf(slots[i]);
            bool here = slots[i].hostingId == window.hostingId && probe.generation == generation
                && board.windowOf(window.hostingId, slots[i].epoch) == window.number;
            require(here && _counts(probe), Examiner_BadAnswer("slot"));
            _doubted[claimId].push(slots[i]);
        }
        _windows[claimId].pleaded = true;
        emit Doubted(claimId, slots);
    }

    /// @inheritdoc IExaminer
    function stands(bytes32 claimId) public view override returns (bool) {
        Window memory window = _windows[claimId];
        return _suffices(board.summaryOf(window.hostingId, window.number));
    }

    /// @inheritdoc IExaminer
    /// @dev Forgery is for those only who named what is forged.
    function weigh(bytes32 claimId, Outcome outcome, uint16, uint16) external view override returns (Outcome) {
        return outcome == Outcome.Forged && !_windows[claimId].pleaded ? Outcome.Dismissed : outcome;
    }

    /// @inheritdoc IExaminer
    function penalty(bytes32 claimId) external view returns (Penalty memory) {
        bool again = _isAgain[claimId];
        return Penalty(0, again ? AGAIN_BPS : FIRST_BPS, again, _parts[claimId]);
    }

    /// @inheritdoc IExaminer
    /// @dev An upheld claim uses the count up; who is paid for it is kept until the court convicts.
    function close(bytes32 claimId, Outcome outcome) external override onlyCourt {
        Window memory window = _windows[claimId];
        bool upheld = outcome == Outcome.Upheld;
        if (upheld) {
            Destination[] memory parts = board.partsOf(window.hostingId, window.number);
            for (uint256 i = 0; i < parts.length; ++i) {
                _parts[claimId].push(parts[i]);
            }
            uint64 before = convictedAt[window.hostingId];
            _isAgain[claimId] = before != 0 && block.timestamp <= before + REPEAT_SECONDS;
            convictedAt[window.hostingId] = uint64(block.timestamp);
        } else if (outcome == Outcome.Forged) {
            Slot[] storage slots = _doubted[claimId];
            for (uint256 i = 0; i < slots.length; ++i) {
                if (_counts(board.probeOf(slots[i]))) board.strike(slots[i], true);
            }
        }
        board.settle(window.hostingId, window.number, upheld);
    }

    /// @dev The receipt stands in a report from before the host could know the query, and its prompt ends with the query.
    function _take(bytes32 claimId, ShownReceipt memory shown) private {
        Window memory window = _windows[claimId];
        Receipt memory receipt = shown.receipt;
        Probe memory probe = board.probeOf(shown.slot);
        bool here = shown.slot.hostingId == window.hostingId && receipt.hostingId == window.hostingId
            && board.windowOf(window.hostingId, shown.slot.epoch) == window.number;
        require(here && _counts(probe), Examiner_BadAnswer("slot"));
        bytes32 receiptId = registry.digest(receipt.hash());
        require(!isUsed[receiptId], Examiner_BadAnswer("receipt was shown before"));
        isUsed[receiptId] = true;
        _checkReceipt(shown, probe, receiptId);
        bytes32 requestHash = keccak256(abi.encode(shown.salt, keccak256(shown.prompt), shown.paramsHash));
        require(requestHash == receipt.requestHash, Examiner_BadAnswer("request hash"));
        bytes32 query = _tail(shown.prompt, shown.querySize);
        require(query == probe.queryHash, Examiner_BadAnswer("prompt has another query"));
        emit ReceiptShown(claimId, receiptId, shown.slot.epoch, shown.slot.number);
        board.strike(shown.slot, false);
    }

    function _checkReceipt(ShownReceipt memory shown, Probe memory probe, bytes32 receiptId) private view {
        Receipt memory receipt = shown.receipt;
        Gate.Report memory report = gate.reportOf(receipt.hostingId, receipt.epoch);
        bool early = report.postedAt != 0 && report.postedAt <= probe.requestedAt;
        require(early, Examiner_BadAnswer("report is younger than request"));
        require(shown.proof.count == report.count, Examiner_BadAnswer("leaf"));
        uint128 tokens = uint128(receipt.tokensIn) + receipt.tokensOut;
        Tree.check(shown.proof, receiptId, receipt.amount, tokens, report.root);
        uint64 start = gate.parameters().epochStart(shown.slot.epoch);
        bool timely = receipt.issuedAt >= start && receipt.issuedAt <= probe.expiresAt;
        require(timely, Examiner_BadAnswer("time"));
        require(receipt.amount >= probe.floor, Examiner_BadAnswer("amount below floor"));
    }

    /// @dev The hash of the last `size` bytes.
    function _tail(bytes memory text, uint256 size) private pure returns (bytes32 hash) {
        require(size <= text.length, Examiner_BadAnswer("query size"));
        // slither-disable-next-line assembly — a slice of memory, inside of its bounds.
        assembly ("memory-safe") {
            hash := keccak256(add(add(text, 32), sub(mload(text), size)), size)
        }
    }

    function _counts(Probe memory probe) private pure returns (bool) {
        return probe.state == ProbeState.Opened || probe.state == ProbeState.Unopened;
    }

    function _suffices(Summary memory summary) private pure returns (bool) {
        return summary.bits >= BITS_MIN && summary.provers >= PROVERS_MIN;
    }
}
