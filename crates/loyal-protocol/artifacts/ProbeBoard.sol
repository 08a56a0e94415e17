// Made by `cargo xtask contracts --write`.
contract ProbeBoard {
    struct BoardParties {
        address registry;
        address gate;
        address router;
        address reader;
        address court;
        address currency;
        address examiner;
    }
    struct Destination {
        address account;
        uint128 amount;
    }
    struct Node {
        bytes32 hash;
        uint128 amount;
        uint128 tokens;
    }
    struct Probe {
        address prover;
        uint8 state;
        uint8 mode;
        uint32 k;
        uint16 hits;
        uint16 coins;
        uint32 generation;
        uint32 index;
        uint64 requestedAt;
        uint64 expiresAt;
        uint128 floor;
        bytes32 resultId;
        bytes32 ticketId;
        bytes32 observedCommit;
        bytes32 queryHash;
    }
    struct ProbeOpening {
        Slot slot;
        bytes32 salt;
        bytes[] replies;
        bytes32 blinding;
        bytes answerSpec;
        Proof proof;
    }
    struct ProbeRequest {
        Slot slot;
        ProbeTicket ticket;
        bytes ticketSignature;
        ProbeResult result;
        bytes32 salt;
        bytes[] replies;
        bytes query;
    }
    struct ProbeResult {
        bytes32 ticketId;
        uint8 mode;
        bytes32 observedCommit;
        bytes32 transcriptHash;
        uint64 observedAt;
    }
    struct ProbeTicket {
        uint256 modelId;
        uint32 version;
        uint256 hostingId;
        bytes32 endpointHash;
        uint32 epoch;
        uint16 slot;
        address prover;
        uint32 index;
        bytes32 queryHash;
        uint64 expiresAt;
    }
    struct Proof {
        uint32 index;
        uint32 count;
        Node[] siblings;
    }
    struct ResultCommit {
        uint256 hostingId;
        uint16 slot;
        bytes32 resultId;
    }
    struct Slot {
        uint256 hostingId;
        uint32 epoch;
        uint16 number;
    }
    struct Summary {
        int64 bits;
        uint32 provers;
        uint32 attested;
        uint32 generation;
    }
    constructor(BoardParties parties);
    function FINE_SECONDS() external view returns (uint64);
    function FORGED_BPS() external view returns (uint16);
    function NO_COMMIT_BPS() external view returns (uint16);
    function OPEN_SECONDS() external view returns (uint64);
    function REPORT_SECONDS() external view returns (uint64);
    function REQUEST_SECONDS() external view returns (uint64);
    function TICKET_SECONDS() external view returns (uint64);
    function UNOPENED_COST() external view returns (uint256);
    function WINDOW_EPOCHS() external view returns (uint32);
    function commitResults(ResultCommit[] results) external;
    function court() external view returns (address);
    function currency() external view returns (address);
    function defund(uint256 modelId, address to, uint256 amount) external;
    function examiner() external view returns (address);
    function expire(Slot slot) external;
    function fine(Slot slot) external;
    function firstEpochOf(uint256 hostingId) external view returns (uint32);
    function fund(uint256 modelId, uint256 amount) external;
    function gate() external view returns (address);
    function hold(uint256 hostingId, uint32 window) external;
    function isPaid(bytes32 slotId, address asset) external view returns (bool);
    function isRequested(bytes32 commitment, uint32 index) external view returns (bool);
    function openResult(ProbeOpening opening) external;
    function parameters() external view returns (address);
    function partsOf(uint256 hostingId, uint32 window) external view returns (Destination[]);
    function payout(Slot slot, address asset) external;
    function pendingOf(uint256 modelId) external view returns (uint256);
    function probeOf(Slot slot) external view returns (Probe);
    function purseOf(uint256 modelId) external view returns (uint256);
    function reader() external view returns (address);
    function registry() external view returns (address);
    function requestAnswer(ProbeRequest request) external;
    function resultsOf(uint256 modelId, uint32 epoch) external view returns (uint32);
    function router() external view returns (address);
    function settle(uint256 hostingId, uint32 window, bool used) external;
    function slotId(Slot slot) external pure returns (bytes32);
    function strike(Slot slot, bool forged) external;
    function summaryOf(uint256 hostingId, uint32 window) external view returns (Summary);
    function windowOf(uint256 hostingId, uint32 epoch) external view returns (uint32);
    event AnswerRequested(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, uint32 index, bytes query, bytes32 salt, bytes[] replies);
    event Held(uint256 indexed hostingId, uint32 indexed window, bool held, uint32 generation);
    event ProverFined(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address prover, uint128 amount);
    event ProverPaid(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address asset, uint256 amount);
    event PurseChanged(uint256 indexed modelId, uint256 purse);
    event ResultCommitted(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, address indexed prover, bytes32 resultId);
    event ResultOpened(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, uint32 k, uint16 hits, uint16 coins);
    event ResultStruck(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, bool forged);
    event ResultUnopened(uint256 indexed hostingId, uint32 indexed epoch, uint16 slot, uint256 paid);
    error Count_TooManyChances(uint32 k);
    error Evidence_BadChance(uint32 k);
    error Probe_BadState(uint8 state);
    error Probe_Held(uint256 hostingId, uint32 window);
    error Probe_Late();
    error Probe_NotController(uint256 modelId, address caller);
    error Probe_NotDrawn(address account);
    error Probe_NotExaminer(address caller);
    error Probe_NotServing(uint256 hostingId);
    error Probe_NothingDue();
    error Probe_PurseBound(uint256 purse);
    error Probe_TooEarly();
    error ReentrancyGuardReentrantCall();
    error SafeERC20FailedOperation(address token);
}
