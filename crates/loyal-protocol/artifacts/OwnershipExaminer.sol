// Made by `cargo xtask contracts --write`.
contract OwnershipExaminer {
    struct Accusation {
        uint256 hostingId;
        uint256 modelId;
        uint256 beneficiary;
        uint32 version;
        uint32 epoch;
        address accused;
        bytes32 subject;
        bool proven;
        bool jury;
    }
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
    struct Destination {
        address account;
        uint128 amount;
    }
    struct LeafOpening {
        uint32 place;
        bytes query;
        bytes32 blinding;
        bytes answerSpec;
        Proof proof;
    }
    struct Node {
        bytes32 hash;
        uint128 amount;
        uint128 tokens;
    }
    struct Penalty {
        uint128 loss;
        uint16 bps;
        bool closes;
        Destination[] parts;
    }
    struct Proof {
        uint32 index;
        uint32 count;
        Node[] siblings;
    }
    constructor(address court_, address registry_, address beacon_, address parameters_);
    function BITS_MIN() external view returns (int64);
    function GENERATIONS_MAX() external view returns (uint256);
    function ROUNDS_MAX() external view returns (uint8);
    function ROUND_LEAVES() external view returns (uint16);
    function TRIALS_MAX() external view returns (uint16);
    function answer(bytes32, bytes) external returns (bool);
    function beacon() external view returns (address);
    function caseOf(bytes32 claimId) external view returns (Case);
    function close(bytes32, uint8) external;
    function court() external view returns (address);
    function isOpened(bytes32 claimId, uint32 place) external view returns (bool);
    function leavesOf(bytes32 claimId) external view returns (uint32[] leaves);
    function open(bytes32 claimId, address claimant, bytes data) external returns (Accusation);
    function openLeaves(bytes32 claimId, LeafOpening[] openings) external;
    function parameters() external view returns (address);
    function penalty(bytes32) external pure returns (Penalty none);
    function plead(bytes32, bytes) external;
    function registry() external view returns (address);
    function stands(bytes32 claimId) external view returns (bool);
    function weigh(bytes32 claimId, uint8 outcome, uint16 hits, uint16 trials) external view returns (uint8);
    event LeafOpened(bytes32 indexed claimId, uint32 index, bytes query, bytes32 secret, bytes answerSpec);
    error Evidence_BadChance(uint32 k);
    error Examiner_BadAnswer(bytes32 fact);
    error Examiner_BadEvidence(bytes32 fact);
    error Examiner_NoAnswer();
    error Examiner_NoJury();
    error Examiner_NotCourt(address caller);
    error Examiner_TooEarly(uint256 from);
    error Tree_BadProof();
}
