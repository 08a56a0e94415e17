// Made by `cargo xtask contracts --write`.
contract ProbeReader {
    struct Commitment {
        address committer;
        uint32 leafCount;
        uint32 beaconEpoch;
        uint64 committedAt;
        bool used;
        bytes32 fingerprintRoot;
        address submitter;
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
    struct ProbeReading {
        uint8 mode;
        uint32 index;
        uint64 expiresAt;
        bytes32 ticketId;
        bytes32 observedCommit;
        bytes32 queryHash;
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
    struct Slot {
        uint256 hostingId;
        uint32 epoch;
        uint16 number;
    }
    constructor(address registry_, address gate_, address vault_, address court_, address tilt_, address verbatim_);
    function REPLIES_MAX() external view returns (uint256);
    function SLOTS() external view returns (uint256);
    function beacon() external view returns (address);
    function commitmentOf(uint256 hostingId) external view returns (bytes32 id, Commitment commitment);
    function court() external view returns (address);
    function draw(uint256 hostingId, uint32 epoch) external view returns (address[] provers, uint32[] leaves);
    function gate() external view returns (address);
    function parameters() external view returns (address);
    function read(ProbeRequest request, address prover, bytes32 resultId) external view returns (ProbeReading);
    function registry() external view returns (address);
    function setTicketSigner(uint256 modelId, address signer) external;
    function ticketSignerAt(uint256 modelId, uint48 time) external view returns (address);
    function tilt() external view returns (address);
    function vault() external view returns (address);
    function verbatim() external view returns (address);
    function weigh(ProbeOpening opening, Probe probe) external view returns (uint32 k, uint16 hits, uint16 coins);
    event TicketSignerSet(uint256 indexed modelId, address indexed signer);
    error CheckpointUnorderedInsertion();
    error Probe_BadResult(bytes32 fact);
    error Probe_NotController(uint256 modelId, address caller);
    error Tree_BadProof();
}
