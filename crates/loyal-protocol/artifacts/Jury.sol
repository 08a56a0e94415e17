// Made by `cargo xtask contracts --write`.
contract Jury {
    struct Ballot {
        bytes32 claimId;
        uint8 round;
        uint8 outcome;
        uint16 hits;
        uint16 trials;
        bytes32 reasonHash;
        bytes32 salt;
    }
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
    struct Tally {
        bool sat;
        uint8 outcome;
        uint16 hits;
        uint16 trials;
    }
    struct Vote {
        bytes32 commitment;
        uint8 outcome;
        bool fined;
        uint16 hits;
        uint16 trials;
    }
    constructor(address court_, address registry_, address vault_, address parameters_, address beacon_);
    function MISSED_BPS() external view returns (uint16);
    function NOTICE_SECONDS() external view returns (uint64);
    function beacon() external view returns (address);
    function commitBallot(bytes32 claimId, uint8 round, bytes32 commitment) external;
    function convene(bytes32 claimId, uint8 round, uint8 size, address[] barred) external returns (uint64 revealBy);
    function court() external view returns (address);
    function draw(bytes32 claimId, uint8 round) external returns (address[] members);
    function fineSecret(uint32 epoch, address validator) external;
    function fineVoter(bytes32 claimId, uint8 round, address voter) external;
    function isFinedForSecret(uint32 epoch, address validator) external view returns (bool);
    function panelOf(bytes32 claimId, uint8 round) external view returns (Panel);
    function parameters() external view returns (address);
    function registry() external view returns (address);
    function revealBallot(Ballot ballot) external;
    function tally(bytes32 claimId, uint8 round) external view returns (Tally result);
    function vault() external view returns (address);
    function voteOf(bytes32 claimId, uint8 round, address voter) external view returns (Vote);
    function votersFor(bytes32 claimId, uint8 round, uint8 outcome) external view returns (address[] voters);
    event BallotCommitted(bytes32 indexed claimId, uint8 indexed round, address indexed voter);
    event BallotRevealed(bytes32 indexed claimId, uint8 indexed round, address indexed voter, uint8 outcome, uint16 hits, uint16 trials, bytes32 reasonHash);
    event Called(bytes32 indexed claimId, uint8 indexed round, uint32 seedEpoch, uint8 size);
    event Drawn(bytes32 indexed claimId, uint8 indexed round, address[] members);
    event Fined(address indexed validator, uint128 amount);
    error Jury_BadBallot();
    error Jury_Drawn();
    error Jury_Late();
    error Jury_NotCourt(address caller);
    error Jury_NotDrawn(address account);
    error Jury_NotMissed(address account);
    error Jury_TooEarly();
}
