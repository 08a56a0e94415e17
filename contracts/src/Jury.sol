// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Beacon} from "./Beacon.sol";
import {IDisputeCourt, Claim, Outcome} from "./interfaces/IDisputeCourt.sol";
import {IExaminer} from "./interfaces/IExaminer.sol";
import {IJury, Tally} from "./interfaces/IJury.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IStakeVault, SeatDraw} from "./interfaces/IStakeVault.sol";
import {DisputeCourt} from "./DisputeCourt.sol";
import {Ballot, Messages} from "./libraries/Messages.sol";

/// @title Juries of validators: drawn by the Beacon, voting unseen
/// @notice Who may sit is fixed when a jury is called, who does by a seed that nobody knows then. A ballot is committed
/// to with its voter's address, so that a copied one opens for nobody. More than half of a jury must reveal.
contract Jury is IJury {
    using Messages for Ballot;

    /// @notice A jury of one claim and round.
    struct Panel {
        uint48 calledAt;
        uint32 seedEpoch;
        uint64 drawnAt;
        uint64 commitBy;
        uint64 revealBy;
        uint8 size;
        address[] barred;
        address[] members;
    }

    /// @notice A member's vote.
    struct Vote {
        bytes32 commitment;
        Outcome outcome;
        bool fined;
        uint16 hits;
        uint16 trials;
    }

    /// @notice What a missed vote or secret costs, in hundredths of a percent of a seat.
    uint16 public constant MISSED_BPS = 100;
    /// @notice Who was drawn later than this before the end of commits is not fined.
    uint64 public constant NOTICE_SECONDS = 6 hours;
    bytes32 internal constant VALIDATOR = "validator";

    DisputeCourt public immutable court;
    IRegistry public immutable registry;
    IStakeVault public immutable vault;
    IParameters public immutable parameters;
    Beacon public immutable beacon;

    mapping(bytes32 claimId => mapping(uint8 round => Panel)) private _panels;
    mapping(bytes32 claimId => mapping(uint8 round => mapping(address voter => Vote))) private _votes;
    /// @notice Whether a validator was fined for a secret it did not reveal.
    mapping(uint32 epoch => mapping(address validator => bool)) public isFinedForSecret;

    /// @notice A jury will be drawn with the seed of an epoch.
    event Called(bytes32 indexed claimId, uint8 indexed round, uint32 seedEpoch, uint8 size);
    /// @notice These validators sit.
    event Drawn(bytes32 indexed claimId, uint8 indexed round, address[] members);
    /// @notice A member committed to its ballot.
    event BallotCommitted(bytes32 indexed claimId, uint8 indexed round, address indexed voter);
    /// @notice A member's ballot.
    event BallotRevealed(
        bytes32 indexed claimId,
        uint8 indexed round,
        address indexed voter,
        Outcome outcome,
        uint16 hits,
        uint16 trials,
        bytes32 reasonHash
    );
    /// @notice A validator lost a part of its seat.
    event Fined(address indexed validator, uint128 amount);

    /// @dev Only the court calls juries.
    error Jury_NotCourt(address caller);
    /// @dev The jury was drawn already.
    error Jury_Drawn();
    /// @dev The account does not sit on this jury.
    error Jury_NotDrawn(address account);
    /// @dev It is not the time for this.
    error Jury_Late();
    error Jury_TooEarly();
    /// @dev The ballot is not the one committed to, or says nothing.
    error Jury_BadBallot();
    /// @dev There is nothing to fine.
    error Jury_NotMissed(address account);

    modifier onlyCourt() {
        require(msg.sender == address(court), Jury_NotCourt(msg.sender));
        _;
    }

    constructor(DisputeCourt court_, IRegistry registry_, IStakeVault vault_, IParameters parameters_, Beacon beacon_) {
        court = court_;
        registry = registry_;
        vault = vault_;
        parameters = parameters_;
        beacon = beacon_;
    }

    /// @inheritdoc IJury
    function convene(bytes32 claimId, uint8 round, uint8 size, address[] calldata barred)
        external
        onlyCourt
        returns (uint64 revealBy)
    {
        Panel storage panel = _panels[claimId][round];
        panel.calledAt = uint48(block.timestamp);
        panel.seedEpoch = parameters.epochAt(block.timestamp) + 1;
        panel.size = size;
        panel.barred = barred;
        panel.commitBy = parameters.epochStart(panel.seedEpoch) + uint64(parameters.get(Parameter.BallotCommit));
        revealBy = panel.commitBy + uint64(parameters.get(Parameter.BallotReveal));
        panel.revealBy = revealBy;
        emit Called(claimId, round, panel.seedEpoch, size);
    }

    /// @notice Draws a jury once its seed is there; anybody may.
    function draw(bytes32 claimId, uint8 round) external returns (address[] memory members) {
        Panel storage panel = _panels[claimId][round];
        require(panel.members.length == 0, Jury_Drawn());
        require(block.timestamp <= panel.commitBy, Jury_Late());
        bytes32 seed = keccak256(abi.encode("loyal/jury/1", beacon.seed(panel.seedEpoch), claimId, round));
        bytes32 roll = vault.rollOf(address(court), VALIDATOR);
        members = vault.drawSeats(SeatDraw(roll, seed, panel.calledAt, panel.size, panel.barred));
        panel.members = members;
        panel.drawnAt = uint64(block.timestamp);
        emit Drawn(claimId, round, members);
    }

    /// @notice Commits to `keccak256(abi.encode(digest of the ballot, voter))`; a later commitment takes the place of an
    /// earlier one.
    function commitBallot(bytes32 claimId, uint8 round, bytes32 commitment) external {
        Panel storage panel = _panels[claimId][round];
        require(_sits(panel, msg.sender), Jury_NotDrawn(msg.sender));
        require(block.timestamp <= panel.commitBy, Jury_Late());
        require(commitment != 0, Jury_BadBallot());
        _votes[claimId][round][msg.sender].commitment = commitment;
        emit BallotCommitted(claimId, round, msg.sender);
    }

    /// @notice Opens the caller's ballot.
    function revealBallot(Ballot calldata ballot) external {
        Panel storage panel = _panels[ballot.claimId][ballot.round];
        require(block.timestamp > panel.commitBy, Jury_TooEarly());
        require(block.timestamp <= panel.revealBy, Jury_Late());
        Vote storage vote = _votes[ballot.claimId][ballot.round][msg.sender];
        bytes32 commitment = keccak256(abi.encode(registry.digest(ballot.hash()), msg.sender));
        bool known = ballot.outcome >= uint8(Outcome.Upheld) && ballot.outcome <= uint8(Outcome.Forged)
            && ballot.hits <= ballot.trials;
        require(known && vote.commitment == commitment && vote.outcome == Outcome.None, Jury_BadBallot());
        Claim memory claim = court.claimOf(ballot.claimId);
        IExaminer examiner = court.examinerOf(claim.kind);
        vote.outcome = examiner.weigh(ballot.claimId, Outcome(ballot.outcome), ballot.hits, ballot.trials);
        (vote.hits, vote.trials) = (ballot.hits, ballot.trials);
        emit BallotRevealed(
            ballot.claimId, ballot.round, msg.sender, vote.outcome, ballot.hits, ballot.trials, ballot.reasonHash
        );
    }

    /// @notice Fines a member that had time and did not reveal; anybody may, once.
    function fineVoter(bytes32 claimId, uint8 round, address voter) external {
        Panel storage panel = _panels[claimId][round];
        Vote storage vote = _votes[claimId][round][voter];
        bool missed = block.timestamp > panel.revealBy && _sits(panel, voter) && vote.outcome == Outcome.None
            && panel.drawnAt + NOTICE_SECONDS <= panel.commitBy;
        require(missed && !vote.fined, Jury_NotMissed(voter));
        vote.fined = true;
        emit Fined(voter, court.slashSeat(VALIDATOR, voter, MISSED_BPS));
    }

    /// @notice Fines a validator that committed to a secret for the Beacon and did not reveal it; anybody may, once.
    function fineSecret(uint32 epoch, address validator) external {
        bool missed = block.timestamp >= parameters.epochStart(epoch) && beacon.commitOf(epoch, validator) != 0;
        require(missed && !isFinedForSecret[epoch][validator], Jury_NotMissed(validator));
        isFinedForSecret[epoch][validator] = true;
        emit Fined(validator, court.slashSeat(VALIDATOR, validator, MISSED_BPS));
    }

    /// @inheritdoc IJury
    /// @dev Upheld or forged by more than half of those who revealed, else dismissed. `hits` and `trials` are those of the
    /// middle ballot by hit rate, the lower one of two.
    function tally(bytes32 claimId, uint8 round) external view returns (Tally memory result) {
        Panel storage panel = _panels[claimId][round];
        uint256 length = panel.members.length;
        Vote[] memory votes = new Vote[](length);
        uint256[4] memory counts = [uint256(0), 0, 0, 0];
        uint256 revealed = 0;
        for (uint256 i = 0; i < length; ++i) {
            Vote memory vote = _votes[claimId][round][panel.members[i]];
            if (vote.outcome == Outcome.None) continue;
            ++counts[uint8(vote.outcome)];
            _insert(votes, revealed++, vote);
        }
        result.sat = revealed * 2 > panel.size;
        if (revealed == 0) return result;
        result.outcome = Outcome.Dismissed;
        if (counts[uint8(Outcome.Upheld)] * 2 > revealed) result.outcome = Outcome.Upheld;
        if (counts[uint8(Outcome.Forged)] * 2 > revealed) result.outcome = Outcome.Forged;
        Vote memory middle = votes[(revealed - 1) / 2];
        (result.hits, result.trials) = (middle.hits, middle.trials);
    }

    /// @inheritdoc IJury
    function votersFor(bytes32 claimId, uint8 round, Outcome outcome) external view returns (address[] memory voters) {
        Panel storage panel = _panels[claimId][round];
        voters = new address[](panel.members.length);
        uint256 found = 0;
        for (uint256 i = 0; i < panel.members.length; ++i) {
            address member = panel.members[i];
            bool agrees = outcome != Outcome.None && _votes[claimId][round][member].outcome == outcome;
            if (agrees) voters[found++] = member;
        }
        // slither-disable-next-line assembly — the list is cut to what was found.
        assembly ("memory-safe") {
            mstore(voters, found)
        }
    }

    /// @notice A jury.
    function panelOf(bytes32 claimId, uint8 round) external view returns (Panel memory) {
        return _panels[claimId][round];
    }

    /// @notice A member's vote.
    function voteOf(bytes32 claimId, uint8 round, address voter) external view returns (Vote memory) {
        return _votes[claimId][round][voter];
    }

    function _sits(Panel storage panel, address account) private view returns (bool) {
        for (uint256 i = 0; i < panel.members.length; ++i) {
            if (panel.members[i] == account) return true;
        }
        return false;
    }

    /// @dev Keeps votes sorted by hit rate.
    function _insert(Vote[] memory votes, uint256 length, Vote memory vote) private pure {
        uint256 place = length;
        while (place > 0 && _isBelow(vote, votes[place - 1])) {
            votes[place] = votes[place - 1];
            --place;
        }
        votes[place] = vote;
    }

    function _isBelow(Vote memory a, Vote memory b) private pure returns (bool) {
        return uint256(a.hits) * b.trials < uint256(b.hits) * a.trials;
    }
}
