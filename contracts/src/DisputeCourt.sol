// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Gate} from "./Gate.sol";
import {Claim, ClaimKind, ClaimState, IDisputeCourt, Outcome} from "./interfaces/IDisputeCourt.sol";
import {Accusation, IExaminer, Penalty} from "./interfaces/IExaminer.sol";
import {HostingState} from "./interfaces/IGate.sol";
import {IJury, Tally} from "./interfaces/IJury.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {Destination, IStakeVault, Position, Terms} from "./interfaces/IStakeVault.sol";
import {VersionState} from "./interfaces/IRegistry.sol";
import {Messages, Verdict} from "./libraries/Messages.sol";
import {LoyalCurrency} from "./LoyalCurrency.sol";
import {ModelFactory} from "./ModelFactory.sol";
import {Registry} from "./Registry.sol";
import {Pool, RevenueRouter} from "./RevenueRouter.sol";

/// @notice The other contracts the court knows. `examiners` stand in the order of the kinds, the first for `Omitted`.
struct CourtParties {
    Registry registry;
    Gate gate;
    RevenueRouter router;
    ModelFactory factory;
    IStakeVault vault;
    IParameters parameters;
    LoyalCurrency currency;
    IJury jury;
    address board;
    address treasury;
    IExaminer[7] examiners;
}

/// @title Claims, from their bond to their verdict and what it costs
/// @notice An examiner for each kind judges evidence; a jury decides what no contract can see; the court keeps time and bonds, and
/// is the only one that convicts. Every claim ends by time alone, and its bonds leave as they came in.
contract DisputeCourt is IDisputeCourt, Multicall, ReentrancyGuardTransient {
    using SafeERC20 for LoyalCurrency;
    using Messages for Verdict;

    /// @notice A claim that is announced and not opened within this time must be announced again.
    uint64 public constant ANNOUNCED_SECONDS = 1 days;
    /// @notice The governor has this long where two juries did not sit.
    uint64 public constant HUNG_SECONDS = 14 days;
    /// @notice A jury's voter gets this part of a model's pool for validators.
    uint256 public constant POOL_DIVISOR = 64;
    uint256 internal constant WHOLE = 10_000;

    Registry public immutable registry;
    Gate public immutable gate;
    RevenueRouter public immutable router;
    ModelFactory public immutable factory;
    IStakeVault public immutable vault;
    IParameters public immutable parameters;
    /// @notice LOYAL, in which bonds are.
    LoyalCurrency public immutable currency;
    IJury public immutable jury;
    address public immutable board;
    /// @notice The protocol's timelock: half of an owner's bond goes there, and it decides where juries did not sit.
    address public immutable treasury;

    mapping(ClaimKind => IExaminer) public examinerOf;
    /// @notice When an account announced a claim, by the id it will have: `keccak256(abi.encode(account, kind,
    /// keccak256(evidence), salt))`.
    mapping(address account => mapping(bytes32 claimId => uint64)) public announcedAt;
    /// @notice The claim that holds a subject; a subject is claimed once.
    mapping(bytes32 subject => bytes32) public claimOn;
    /// @notice LOYAL that an account may withdraw.
    mapping(address account => uint256) public owed;
    /// @notice What receipts of an epoch have cost a hosting; half of its bond at most.
    mapping(uint256 hostingId => mapping(uint32 epoch => uint256)) public takenOf;
    /// @notice Whether a claim's voters had their part of a pool in an asset.
    mapping(bytes32 claimId => mapping(address asset => bool)) public isPoolPaid;

    mapping(bytes32 claimId => Claim) private _claims;
    mapping(address officer => bool) private _isOfficer;

    /// @notice An account will open a claim.
    event ClaimAnnounced(address indexed account, bytes32 indexed claimId);
    /// @notice A claim is open; without an answer by `answerBy` it holds.
    event ClaimOpened(
        bytes32 indexed claimId,
        ClaimKind indexed kind,
        address indexed claimant,
        uint256 hostingId,
        uint256 modelId,
        bytes32 evidenceRoot,
        uint64 answerBy
    );
    /// @notice The accused said something; `dismissed` where that ends the claim.
    event Answered(bytes32 indexed claimId, address indexed from, bool dismissed);
    /// @notice The accused put up the same bond and will be heard by a jury.
    event Pleaded(bytes32 indexed claimId, address indexed accused, uint128 bond);
    /// @notice A jury is called.
    event JuryCalled(bytes32 indexed claimId, uint8 round, uint64 revealBy);
    /// @notice There is a verdict; it can be appealed until then.
    event Ruled(bytes32 indexed claimId, Outcome outcome, uint64 appealBy);
    /// @notice The losing side wants a larger jury.
    event Appealed(bytes32 indexed claimId, address indexed appellant, uint128 bond);
    /// @notice No jury sat; the governor decides, or time does.
    event Hung(bytes32 indexed claimId, uint64 until);
    /// @notice A verdict is final, and the bonds are divided.
    event Finished(bytes32 indexed claimId, Outcome indexed outcome, uint128 toWinner, uint128 toJury, uint128 burnt);
    /// @notice A verdict is carried out; its digest is that of the `Verdict` message.
    event Executed(bytes32 indexed claimId, bytes32 indexed verdictId, Verdict verdict);
    /// @notice An account took LOYAL that was its own.
    event Withdrawn(address indexed account, uint256 amount);

    /// @dev The caller may not do this.
    error Court_NotParty(address caller);
    /// @dev The claim is in another state than this needs.
    error Court_BadState(bytes32 claimId, ClaimState state);
    /// @dev The claim was not announced in an earlier block, or too long ago.
    error Court_NotAnnounced(bytes32 claimId);
    /// @dev There is no such kind of claim.
    error Court_BadKind(ClaimKind kind);
    /// @dev The subject is claimed already.
    error Court_SubjectTaken(bytes32 subject, bytes32 claimId);
    /// @dev The hosting has ended, and its bond is gone.
    error Court_HostingClosed(uint256 hostingId);
    /// @dev The time for this is over.
    error Court_Late(uint64 deadline);
    /// @dev The time for this is not over yet.
    error Court_TooEarly(uint64 deadline);
    /// @dev The verdict must be one of the two sides'.
    error Court_BadOutcome(Outcome outcome);
    /// @dev The pool was paid for this claim.
    error Court_PoolPaid(bytes32 claimId, address asset);

    modifier onlyOfficer() {
        require(_isOfficer[msg.sender], Court_NotParty(msg.sender));
        _;
    }

    constructor(CourtParties memory parties) {
        registry = parties.registry;
        gate = parties.gate;
        router = parties.router;
        factory = parties.factory;
        vault = parties.vault;
        parameters = parties.parameters;
        currency = parties.currency;
        jury = parties.jury;
        board = parties.board;
        treasury = parties.treasury;
        _isOfficer[parties.board] = true;
        _isOfficer[address(parties.jury)] = true;
        for (uint8 i = 0; i < 7; ++i) {
            examinerOf[ClaimKind(i + 1)] = parties.examiners[i];
            _isOfficer[address(parties.examiners[i])] = true;
        }
    }

    // --- a claim begins

    /// @notice Announces a claim by its hash, at least a block before it is opened: nobody can see it and come first.
    function commitClaim(bytes32 claimId) external {
        announcedAt[msg.sender][claimId] = uint64(block.timestamp);
        emit ClaimAnnounced(msg.sender, claimId);
    }

    /// @notice Opens a claim; the caller has approved its bond in LOYAL. What the evidence proves is carried out at once.
    /// @dev Guarded like every door that changes a claim; the examiners are the court's own.
    // slither-disable-next-line reentrancy-no-eth
    function open(ClaimKind kind, bytes calldata evidence, bytes32 salt)
        external
        nonReentrant
        returns (bytes32 claimId)
    {
        IExaminer examiner = examinerOf[kind];
        require(address(examiner) != address(0), Court_BadKind(kind));
        claimId = keccak256(abi.encode(msg.sender, kind, keccak256(evidence), salt));
        _useAnnouncement(claimId);
        Accusation memory accusation = examiner.open(claimId, msg.sender, evidence);
        bytes32 before = claimOn[accusation.subject];
        require(before == 0, Court_SubjectTaken(accusation.subject, before));
        claimOn[accusation.subject] = claimId;
        _record(claimId, kind, accusation, keccak256(evidence));
        _hold(_claims[claimId]);
        currency.safeTransferFrom(msg.sender, address(this), _claims[claimId].bond);
        if (!accusation.proven) return claimId;
        _finish(claimId, Outcome.Upheld);
        _execute(claimId);
    }

    /// @notice Answers a claim in time; anybody may bring what answers it.
    // slither-disable-next-line reentrancy-no-eth
    function answer(bytes32 claimId, bytes calldata data) external nonReentrant {
        Claim storage claim = _require(claimId, ClaimState.Open);
        _before(claim.deadline);
        bool dismissed = examinerOf[claim.kind].answer(claimId, data);
        emit Answered(claimId, msg.sender, dismissed);
        if (dismissed) _end(claimId, Outcome.Dismissed);
    }

    /// @notice The accused puts up the same bond and asks for a jury; `data` is what it says, as the examiner wants it.
    function plead(bytes32 claimId, bytes calldata data) external nonReentrant {
        Claim storage claim = _require(claimId, ClaimState.Open);
        _before(claim.deadline);
        require(msg.sender == claim.accused && claim.pleaBond == 0, Court_NotParty(msg.sender));
        claim.pleaBond = claim.bond;
        emit Pleaded(claimId, msg.sender, claim.bond);
        examinerOf[claim.kind].plead(claimId, data);
        currency.safeTransferFrom(msg.sender, address(this), claim.bond);
    }

    /// @notice The claimant takes back a claim that a jury would hear, unanswered, and leaves half of its bond to the accused.
    /// @dev A claim that holds by silence stays: an accomplice of the accused could hold its subject, drop and hold again.
    function drop(bytes32 claimId) external nonReentrant {
        Claim storage claim = _require(claimId, ClaimState.Open);
        require(claim.kind > ClaimKind.Unreported, Court_BadKind(claim.kind));
        _before(claim.deadline);
        require(msg.sender == claim.claimant && claim.pleaBond == 0, Court_NotParty(msg.sender));
        _end(claimId, Outcome.Dropped);
    }

    // --- a claim goes on by time

    /// @notice Takes a claim whose time has come one step on; anybody may.
    function rule(bytes32 claimId) external nonReentrant {
        Claim storage claim = _claims[claimId];
        ClaimState state = claim.state;
        bool waits = state != ClaimState.None && state != ClaimState.Final && state != ClaimState.Executed;
        require(waits, Court_BadState(claimId, state));
        require(block.timestamp > claim.deadline, Court_TooEarly(claim.deadline));
        if (state == ClaimState.Open) _default(claimId);
        else if (state == ClaimState.Voting) _count(claimId);
        else if (state == ClaimState.Ruled) _end(claimId, claim.outcome);
        else _end(claimId, claim.kind == ClaimKind.Unreported ? Outcome.Upheld : Outcome.Dismissed);
    }

    /// @notice The side that lost wants a larger jury, for twice the bond; once.
    function appeal(bytes32 claimId) external nonReentrant {
        Claim storage claim = _require(claimId, ClaimState.Ruled);
        _before(claim.deadline);
        claim.appealed = true;
        claim.claimantAppealed = claim.outcome != Outcome.Upheld;
        address loser = claim.claimantAppealed ? claim.claimant : claim.accused;
        require(msg.sender == loser, Court_NotParty(msg.sender));
        claim.appealBond = 2 * claim.bond;
        emit Appealed(claimId, msg.sender, claim.appealBond);
        _convene(claimId, 2);
        currency.safeTransferFrom(msg.sender, address(this), claim.appealBond);
    }

    /// @notice The governor decides a claim on which two juries did not sit.
    function decide(bytes32 claimId, Outcome outcome) external nonReentrant {
        require(msg.sender == treasury, Court_NotParty(msg.sender));
        require(outcome == Outcome.Upheld || outcome == Outcome.Dismissed, Court_BadOutcome(outcome));
        _require(claimId, ClaimState.Hung);
        _end(claimId, outcome);
    }

    /// @notice Carries out a final verdict; anybody may.
    function execute(bytes32 claimId) external nonReentrant {
        _require(claimId, ClaimState.Final);
        _execute(claimId);
    }

    // --- money

    /// @notice Sends an account the LOYAL that claims left it.
    function withdraw(address account) external nonReentrant returns (uint256 amount) {
        amount = owed[account];
        owed[account] = 0;
        emit Withdrawn(account, amount);
        currency.safeTransfer(account, amount);
    }

    /// @notice Pays those who voted as a finished claim ended out of the model's pool for validators.
    function payVoters(bytes32 claimId, address asset) external nonReentrant {
        Claim storage claim = _claims[claimId];
        require(
            claim.state == ClaimState.Final || claim.state == ClaimState.Executed, Court_BadState(claimId, claim.state)
        );
        require(!isPoolPaid[claimId][asset], Court_PoolPaid(claimId, asset));
        isPoolPaid[claimId][asset] = true;
        uint256 each = router.pooled(Pool.Validators, claim.modelId, asset) / POOL_DIVISOR;
        if (each == 0) return;
        address[] memory voters = _voters(claimId, claim);
        for (uint256 i = 0; i < voters.length; ++i) {
            router.drawPool(Pool.Validators, claim.modelId, asset, voters[i], each);
        }
    }

    // --- what the court's own contracts ask

    /// @inheritdoc IDisputeCourt
    function slashSeat(bytes32 subject, address account, uint16 bps) external onlyOfficer returns (uint128 amount) {
        Terms memory terms = Terms(address(this), account, account, address(currency), subject);
        bytes32 id = keccak256(abi.encode(terms));
        uint256 seat = parameters.get(subject == "validator" ? Parameter.ValidatorSeat : Parameter.ProverSeat);
        amount = _least((seat * bps) / WHOLE, _available(id));
        if (amount != 0) _slash(id, Destination(address(0), amount), Destination(address(0), 0));
    }

    /// @inheritdoc IDisputeCourt
    function burnLeaf(bytes32 commitment, uint32 index) external onlyOfficer {
        registry.burnLeaf(commitment, index);
    }

    /// @inheritdoc IDisputeCourt
    function claimOf(bytes32 claimId) external view returns (Claim memory) {
        return _claims[claimId];
    }

    // --- the straight parts

    function _useAnnouncement(bytes32 claimId) private {
        uint64 time = announcedAt[msg.sender][claimId];
        bool good = time != 0 && time < block.timestamp && block.timestamp <= time + ANNOUNCED_SECONDS;
        require(good && _claims[claimId].state == ClaimState.None, Court_NotAnnounced(claimId));
        delete announcedAt[msg.sender][claimId];
    }

    function _record(bytes32 claimId, ClaimKind kind, Accusation memory accusation, bytes32 evidenceRoot) private {
        Claim storage claim = _claims[claimId];
        claim.kind = kind;
        claim.state = ClaimState.Open;
        claim.claimant = msg.sender;
        claim.accused = accusation.accused;
        claim.hostingId = accusation.hostingId;
        claim.beneficiary = accusation.beneficiary;
        claim.modelId = accusation.modelId;
        claim.version = accusation.version;
        claim.epoch = accusation.epoch;
        claim.subject = accusation.subject;
        claim.evidenceRoot = evidenceRoot;
        claim.round = accusation.jury ? 1 : 0;
        claim.openedAt = uint64(block.timestamp);
        bool receipts = kind < ClaimKind.Unreported;
        Parameter bond = receipts
            ? Parameter.ReceiptClaimBond
            : kind == ClaimKind.Ownership ? Parameter.OwnershipClaimBond : Parameter.UseClaimBond;
        claim.bond = uint128(parameters.get(bond));
        claim.deadline =
            uint64(block.timestamp + parameters.get(receipts ? Parameter.ReceiptAnswer : Parameter.UseAnswer));
        emit ClaimOpened(claimId, kind, msg.sender, claim.hostingId, claim.modelId, evidenceRoot, claim.deadline);
    }

    /// @dev Holds what the claim accuses: a hosting's bond, or a version and its owner's bond.
    function _hold(Claim storage claim) private {
        if (claim.kind == ClaimKind.Ownership) {
            registry.openClaim(claim.modelId, claim.version);
            bytes32 id = factory.bondOf(claim.modelId);
            if (id != 0) vault.freeze(id);
        } else {
            HostingState state = gate.hostingOf(claim.hostingId).state;
            bool live = state != HostingState.None && state != HostingState.Closed;
            require(live, Court_HostingClosed(claim.hostingId));
            gate.freeze(claim.hostingId);
        }
    }

    /// @dev Nobody answered in time: silence loses what a contract could see, and a jury sees the rest.
    function _default(bytes32 claimId) private {
        Claim storage claim = _claims[claimId];
        bool heard = claim.round != 0 || claim.pleaBond != 0;
        if (!examinerOf[claim.kind].stands(claimId)) _end(claimId, Outcome.Dismissed);
        else if (heard) _convene(claimId, 1);
        else _end(claimId, Outcome.Upheld);
    }

    function _convene(bytes32 claimId, uint8 round) private {
        Claim storage claim = _claims[claimId];
        claim.state = ClaimState.Voting;
        claim.round = round;
        address[] memory barred = new address[](5);
        barred[0] = claim.claimant;
        barred[1] = claim.accused;
        barred[2] = currency.delegates(claim.claimant);
        barred[3] = currency.delegates(claim.accused);
        barred[4] = registry.controllerOf(claim.modelId);
        uint8 size = uint8(parameters.get(round == 1 ? Parameter.JurySeats : Parameter.AppealSeats));
        claim.deadline = jury.convene(claimId, round, size, barred);
        emit JuryCalled(claimId, round, claim.deadline);
    }

    /// @dev A first jury that did not sit is followed by a larger one, a second one by the governor.
    function _count(bytes32 claimId) private {
        Claim storage claim = _claims[claimId];
        Tally memory tally = jury.tally(claimId, claim.round);
        if (tally.sat && claim.round == 2) {
            _end(claimId, tally.outcome);
        } else if (tally.sat) {
            claim.state = ClaimState.Ruled;
            claim.outcome = tally.outcome;
            claim.deadline = uint64(block.timestamp + parameters.get(Parameter.AppealWindow));
            emit Ruled(claimId, tally.outcome, claim.deadline);
        } else if (claim.round == 1) {
            _convene(claimId, 2);
        } else if (claim.appealed) {
            // The appeal found no ears: the first verdict stands.
            _end(claimId, claim.outcome);
        } else {
            claim.state = ClaimState.Hung;
            claim.deadline = uint64(block.timestamp) + HUNG_SECONDS;
            emit Hung(claimId, claim.deadline);
        }
    }

    /// @dev A verdict that takes nothing from anybody is carried out at once. A conviction is a step of its own, so that an
    /// asset that refuses to move keeps no bond of LOYAL back.
    // slither-disable-next-line reentrancy-no-eth
    function _end(bytes32 claimId, Outcome outcome) private {
        _finish(claimId, outcome);
        if (outcome != Outcome.Upheld) _execute(claimId);
    }

    /// @dev Divides the bonds. The winner has its own back and half of what the loser put up; voters of the winning side
    /// share the rest, which burns where there are none.
    function _finish(bytes32 claimId, Outcome outcome) private {
        Claim storage claim = _claims[claimId];
        claim.outcome = outcome;
        claim.state = ClaimState.Final;
        bool upheld = outcome == Outcome.Upheld;
        address winner = upheld ? claim.claimant : claim.accused;
        uint128 lost = upheld ? claim.pleaBond : claim.bond;
        if (claim.claimantAppealed != upheld) lost += claim.appealBond;
        uint128 whole = claim.bond + claim.pleaBond + claim.appealBond;
        uint128 toWinner = whole - lost + lost / 2;
        uint128 toJury = 0;
        if (outcome == Outcome.Dropped) {
            toJury = lost - lost / 2;
            owed[claim.claimant] += toJury;
        } else if (lost != 0) {
            toJury = _payVotersOf(claimId, claim, lost - lost / 2);
        }
        owed[winner] += toWinner;
        uint128 burnt = whole - toWinner - toJury;
        emit Finished(claimId, outcome, toWinner, toJury, burnt);
        examinerOf[claim.kind].close(claimId, outcome);
        if (burnt != 0) currency.burn(burnt);
    }

    function _payVotersOf(bytes32 claimId, Claim storage claim, uint128 amount) private returns (uint128 paid) {
        address[] memory voters = _voters(claimId, claim);
        if (voters.length == 0) return 0;
        uint128 each = amount / uint128(voters.length);
        for (uint256 i = 0; i < voters.length; ++i) {
            owed[voters[i]] += each;
            paid += each;
        }
    }

    /// @dev Those of both rounds who voted as the claim ended; one account at most once a round.
    function _voters(bytes32 claimId, Claim storage claim) private view returns (address[] memory all) {
        address[] memory first = jury.votersFor(claimId, 1, claim.outcome);
        address[] memory second = jury.votersFor(claimId, 2, claim.outcome);
        all = new address[](first.length + second.length);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = i < first.length ? first[i] : second[i - first.length];
        }
    }

    function _execute(bytes32 claimId) private {
        Claim storage claim = _claims[claimId];
        claim.state = ClaimState.Executed;
        bool upheld = claim.outcome == Outcome.Upheld;
        bool again = claim.outcome == Outcome.Dropped || claim.kind == ClaimKind.Unreported;
        if (again) delete claimOn[claim.subject];
        uint128 slashed;
        if (claim.kind == ClaimKind.Ownership) slashed = _endOwnership(claim, upheld);
        else slashed = _endHosting(claimId, claim, upheld);
        Tally memory tally = jury.tally(claimId, claim.round == 0 ? 1 : claim.round);
        Verdict memory verdict = Verdict({
            claimId: claimId,
            kind: uint8(claim.kind),
            outcome: uint8(claim.outcome),
            hits: tally.hits,
            trials: tally.trials,
            slashed: slashed,
            evidenceRoot: claim.evidenceRoot,
            ruledAt: uint64(block.timestamp)
        });
        emit Executed(claimId, registry.digest(verdict.hash()), verdict);
    }

    /// @dev A hosting whose bond is used up may have closed meanwhile; there is nothing left to take from it then.
    function _endHosting(bytes32 claimId, Claim storage claim, bool upheld) private returns (uint128 amount) {
        uint256 hostingId = claim.hostingId;
        gate.unfreeze(hostingId);
        HostingState state = gate.hostingOf(hostingId).state;
        if (!upheld || state == HostingState.Closed) return 0;
        Penalty memory penalty = examinerOf[claim.kind].penalty(claimId);
        amount = _amountOf(claim, penalty);
        gate.convict(hostingId, amount, _claimants(claim.claimant, amount / 2, penalty.parts), penalty.closes);
    }

    /// @dev The greater of loss and part of the bond, as far as there is a bond; receipts of one epoch cost half of it at most.
    function _amountOf(Claim storage claim, Penalty memory penalty) private returns (uint128 amount) {
        uint256 bond = _available(gate.hostingOf(claim.hostingId).position);
        amount = _least((bond * penalty.bps) / WHOLE, bond);
        if (penalty.loss > amount) amount = _least(penalty.loss, bond);
        if (claim.kind >= ClaimKind.Unreported) return amount;
        uint256 taken = takenOf[claim.hostingId][claim.epoch];
        uint256 most = (bond + taken) / 2;
        amount = most > taken ? _least(amount, most - taken) : 0;
        takenOf[claim.hostingId][claim.epoch] = taken + amount;
    }

    function _claimants(address claimant, uint128 half, Destination[] memory parts)
        private
        pure
        returns (Destination[] memory all)
    {
        if (parts.length == 0) {
            all = new Destination[](1);
            all[0] = Destination(claimant, half);
            return all;
        }
        uint256 weight = 0;
        for (uint256 i = 0; i < parts.length; ++i) {
            weight += parts[i].amount;
        }
        all = parts;
        for (uint256 i = 0; i < all.length; ++i) {
            all[i].amount = uint128((uint256(half) * parts[i].amount) / weight);
        }
    }

    /// @dev Half of the owner's bond goes to the claimant, half to the treasury; the version's revenue to the claimant's model.
    function _endOwnership(Claim storage claim, bool upheld) private returns (uint128 amount) {
        bytes32 id = factory.bondOf(claim.modelId);
        if (id != 0) vault.unfreeze(id);
        registry.closeClaim(claim.modelId, claim.version);
        if (!upheld) return 0;
        VersionState state = registry.stateOf(claim.modelId, claim.version);
        // Another claim may have come first.
        if (state != VersionState.Contestable && state != VersionState.Active) return 0;
        registry.revoke(claim.modelId, claim.version, claim.beneficiary);
        amount = id == 0 ? 0 : _least(type(uint256).max, _available(id));
        if (amount == 0) return 0;
        _slash(id, Destination(claim.claimant, amount / 2), Destination(treasury, amount - amount / 2));
    }

    function _slash(bytes32 id, Destination memory one, Destination memory other) private {
        Destination[] memory all = new Destination[](2);
        (all[0], all[1]) = (one, other);
        vault.slash(id, all);
    }

    function _available(bytes32 id) private view returns (uint256) {
        Position memory position = vault.positionOf(id);
        return uint256(position.bound) + position.thawing;
    }

    function _require(bytes32 claimId, ClaimState state) private view returns (Claim storage claim) {
        claim = _claims[claimId];
        require(claim.state == state, Court_BadState(claimId, claim.state));
    }

    function _before(uint64 deadline) private view {
        require(block.timestamp <= deadline, Court_Late(deadline));
    }

    function _least(uint256 a, uint256 b) private pure returns (uint128) {
        uint256 least = a < b ? a : b;
        return least > type(uint128).max ? type(uint128).max : uint128(least);
    }
}
