// Made by `cargo xtask contracts --write`.
contract UsageExaminer {
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
    struct Destination {
        address account;
        uint128 amount;
    }
    struct Penalty {
        uint128 loss;
        uint16 bps;
        bool closes;
        Destination[] parts;
    }
    struct Slot {
        uint256 hostingId;
        uint32 epoch;
        uint16 number;
    }
    constructor(address court_, address gate_, address board_);
    function ACCUSED_MAX() external view returns (uint256);
    function BITS_MIN() external view returns (int64);
    function PROVERS_MIN() external view returns (uint32);
    function REPEAT_SECONDS() external view returns (uint64);
    function answer(bytes32 claimId, bytes data) external returns (bool);
    function board() external view returns (address);
    function close(bytes32 claimId, uint8 outcome) external;
    function convictedAt(uint256 hostingId) external view returns (uint64);
    function court() external view returns (address);
    function gate() external view returns (address);
    function isUsed(bytes32 receiptId) external view returns (bool);
    function open(bytes32 claimId, address, bytes evidence) external returns (Accusation);
    function penalty(bytes32 claimId) external view returns (Penalty);
    function plead(bytes32 claimId, bytes data) external;
    function registry() external view returns (address);
    function stands(bytes32 claimId) external view returns (bool);
    function weigh(bytes32 claimId, uint8 outcome, uint16, uint16) external view returns (uint8);
    event Doubted(bytes32 indexed claimId, Slot[] slots);
    event ReceiptShown(bytes32 indexed claimId, bytes32 indexed receiptId, uint32 epoch, uint16 slot);
    error Examiner_BadAnswer(bytes32 fact);
    error Examiner_BadEvidence(bytes32 fact);
    error Examiner_NoAnswer();
    error Examiner_NoJury();
    error Examiner_NotCourt(address caller);
    error Examiner_TooEarly(uint256 from);
    error Tree_BadProof();
}
