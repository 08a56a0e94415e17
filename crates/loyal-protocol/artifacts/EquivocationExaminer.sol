// Made by `cargo xtask contracts --write`.
contract EquivocationExaminer {
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
    constructor(address court_, address gate_);
    function answer(bytes32, bytes) external returns (bool);
    function close(bytes32, uint8) external;
    function court() external view returns (address);
    function gate() external view returns (address);
    function open(bytes32, address, bytes evidence) external view returns (Accusation);
    function penalty(bytes32 claimId) external view returns (Penalty);
    function plead(bytes32, bytes) external;
    function registry() external view returns (address);
    function stands(bytes32) external view returns (bool);
    function weigh(bytes32, uint8 outcome, uint16, uint16) external view returns (uint8);
    error Examiner_BadAnswer(bytes32 fact);
    error Examiner_BadEvidence(bytes32 fact);
    error Examiner_NoAnswer();
    error Examiner_NoJury();
    error Examiner_NotCourt(address caller);
    error Examiner_TooEarly(uint256 from);
}
