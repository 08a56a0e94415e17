// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Hosting, HostingParties, HostingState, IGate, Level} from "./interfaces/IGate.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {Floor, IRegistry} from "./interfaces/IRegistry.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Destination, IStakeVault, Position, Terms} from "./interfaces/IStakeVault.sol";
import {Delivery, Messages, UsageReport} from "./libraries/Messages.sol";
import {Node, Tree} from "./libraries/Tree.sol";

/// @notice What a host asks for when it opens a hosting.
struct Opening {
    uint256 modelId;
    uint32 version;
    Level level;
    address signer;
    address asset;
    uint128 price;
    bytes32 endpointHash;
    uint128 bond;
}

/// @notice The other contracts the gate knows.
struct GateParties {
    IRegistry registry;
    IRevenueRouter router;
    IStakeVault vault;
    IParameters parameters;
    address court;
}

/// @title The authorisation contract: who may serve which version at which entry point
/// @notice Holds hostings, the delivery of copies, the reports of every epoch and what follows from missing ones. The gate is the
/// arbiter of the hosts' bonds; the court acts on them through `freeze` and `convict`.
contract Gate is IGate, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace208;
    using Messages for Delivery;
    using Messages for UsageReport;

    /// @notice The copy an owner prepared for a host.
    struct Copy {
        bytes32 copyRoot;
        bytes32 subsetRoot;
    }

    /// @notice The report of an epoch. `cumulative` is all that the hosting had reported with it.
    struct Report {
        bytes32 root;
        uint32 count;
        uint64 postedAt;
        uint128 amount;
        uint128 cumulative;
    }

    uint32 internal constant STILL_SERVING = type(uint32).max;
    /// A slash: at most half to claimants, a fifth burnt, the rest to the model's shares.
    uint128 internal constant CLAIMANTS_DIVISOR = 2;
    uint128 internal constant BURN_DIVISOR = 5;

    /// @notice Models and the domain of messages.
    IRegistry public immutable registry;
    /// @notice Where revenue goes.
    IRevenueRouter public immutable router;
    /// @notice Where bonds are.
    IStakeVault public immutable vault;
    /// @notice Governed values and the count of epochs.
    IParameters public immutable parameters;
    /// @notice The contract that convicts.
    address public immutable court;

    /// @notice How many hostings there are; ids count from one.
    uint256 public hostingCount;

    mapping(uint256 hostingId => Hosting) private _hostings;
    mapping(uint256 hostingId => Checkpoints.Trace208) private _signers;
    mapping(uint256 hostingId => mapping(uint32 epoch => Report)) private _reports;
    /// @notice The copy an owner prepared for a hosting.
    mapping(uint256 hostingId => Copy) public copyOf;
    /// @notice Until when an attested image may serve a model.
    mapping(uint256 modelId => mapping(bytes32 image => uint64)) public imageUntil;

    /// @notice A host put up a bond.
    event HostingOpened(
        uint256 indexed hostingId,
        uint256 indexed modelId,
        address indexed host,
        uint32 version,
        address asset,
        uint128 bond
    );
    /// @notice An owner made a copy for a host, with this subset of fingerprints.
    event CopyPrepared(uint256 indexed hostingId, bytes32 copyRoot, bytes32 subsetRoot);
    /// @notice A host has its copy and serves.
    event Delivered(uint256 indexed hostingId, bytes32 indexed deliveryId, bytes32 copyRoot, bytes32 build);
    /// @notice A bond grew.
    event BondRaised(uint256 indexed hostingId, address indexed from, uint128 amount);
    /// @notice A hosting signs with this key from now on.
    event SignerRotated(uint256 indexed hostingId, address indexed signer);
    /// @notice A hosting answers at another entry point.
    event EndpointSet(uint256 indexed hostingId, bytes32 endpointHash);
    /// @notice A hosting asks another price.
    event PriceSet(uint256 indexed hostingId, uint128 price);
    /// @notice All of an epoch's invocations are committed to.
    event ReportPosted(
        uint256 indexed hostingId, uint32 indexed epoch, bytes32 root, uint32 count, uint128 amount, uint128 tokens
    );
    /// @notice A report is late, or was.
    event ReportLate(uint256 indexed hostingId, uint32 indexed epoch, uint256 hoursLate, uint128 fine);
    /// @notice A hosting does not serve; its bond must reach this much again.
    event HostingPaused(uint256 indexed hostingId, uint128 bondRequired);
    /// @notice A hosting serves again.
    event HostingResumed(uint256 indexed hostingId);
    /// @notice The court took from a bond.
    event HostingConvicted(uint256 indexed hostingId, uint128 slashed, uint16 convictions);
    /// @notice The bond paid what had been reported.
    event DueSettled(uint256 indexed hostingId, uint32 indexed epoch, uint128 amount);
    /// @notice A hosting ends, and its bond thaws.
    event HostingExiting(uint256 indexed hostingId, uint64 exitsAt);
    /// @notice A hosting has ended.
    event HostingClosed(uint256 indexed hostingId);
    /// @notice An attested image may serve a model.
    event ImageAllowed(uint256 indexed modelId, bytes32 indexed image, uint64 until);
    /// @notice An attested image may not serve a model any more.
    event ImageRevoked(uint256 indexed modelId, bytes32 indexed image);

    /// @dev The caller is not the host.
    error Gate_NotHost(uint256 hostingId, address caller);
    /// @dev The caller does not control the model.
    error Gate_NotController(uint256 modelId, address caller);
    /// @dev The caller is not the court.
    error Gate_NotCourt(address caller);
    /// @dev The hosting is in another state than this needs.
    error Gate_NotActive(uint256 hostingId, HostingState state);
    /// @dev The version is not served at present.
    error Gate_VersionInactive(uint256 modelId, uint32 version);
    /// @dev The bond does not carry the price or the volume.
    error Gate_BondTooSmall(uint128 bond, uint256 required);
    /// @dev The model asks for more.
    error Gate_BelowFloor(uint256 amount, uint256 floor);
    /// @dev The model does not take the asset.
    error Gate_AssetRefused(uint256 modelId, address asset);
    /// @dev A signer is an account without code, and not nobody.
    error Gate_BadSigner(address signer);
    /// @dev The signature is not the hosting signer's.
    error Gate_BadSignature(uint256 hostingId);
    /// @dev The delivery names another version or copy than the owner prepared, or is of the future.
    error Gate_OtherCopy(uint256 hostingId);
    /// @dev The model admits hosts only for whom its owner prepared a copy.
    error Gate_NotOpen(uint256 modelId);
    /// @dev The report of this epoch is there.
    error Gate_ReportExists(uint32 epoch);
    /// @dev An earlier report is missing.
    error Gate_ReportMissing(uint32 epoch);
    /// @dev The epoch is not over, or too long ago.
    error Gate_BadEpoch(uint32 epoch);
    /// @dev A report without invocations has no sums.
    error Gate_BadReport();
    /// @dev Nothing is due.
    error Gate_NothingDue(uint256 hostingId);
    /// @dev A claim against the hosting is open.
    error Gate_ClaimOpen(uint256 hostingId);
    /// @dev The exit takes until then.
    error Gate_Exiting(uint64 exitsAt);
    /// @dev Claimants may get half of a slash at most.
    error Gate_ClaimantsShare(uint128 claimants, uint128 slash);

    modifier onlyHost(uint256 hostingId) {
        require(msg.sender == _hostings[hostingId].host, Gate_NotHost(hostingId, msg.sender));
        _;
    }

    modifier onlyController(uint256 modelId) {
        require(msg.sender == registry.controllerOf(modelId), Gate_NotController(modelId, msg.sender));
        _;
    }

    modifier onlyCourt() {
        require(msg.sender == court, Gate_NotCourt(msg.sender));
        _;
    }

    constructor(GateParties memory parties) {
        registry = parties.registry;
        router = parties.router;
        vault = parties.vault;
        parameters = parties.parameters;
        court = parties.court;
    }

    // --- a hosting begins

    /// @notice Opens a hosting of one version; the caller becomes its host and puts up the bond, for which it has approved
    /// this contract.
    function open(Opening calldata opening) external nonReentrant returns (uint256 hostingId) {
        (uint256 modelId, uint32 version) = (opening.modelId, opening.version);
        require(registry.isServeable(modelId, version), Gate_VersionInactive(modelId, version));
        hostingId = ++hostingCount;
        Hosting storage hosting = _hostings[hostingId];
        hosting.modelId = modelId;
        hosting.version = version;
        hosting.level = opening.level;
        hosting.state = HostingState.Bonded;
        hosting.host = msg.sender;
        hosting.asset = opening.asset;
        hosting.endpointHash = opening.endpointHash;
        _setPrice(hosting, opening.price, opening.bond);
        _setSigner(hostingId, opening.signer);
        emit HostingOpened(hostingId, modelId, msg.sender, version, opening.asset, opening.bond);
        hosting.position = _bind(_termsOf(hostingId), opening.bond);
    }

    /// @notice The owner names the copy it made for a host, and by that admits it.
    function prepare(uint256 hostingId, bytes32 copyRoot, bytes32 subsetRoot)
        external
        onlyController(_hostings[hostingId].modelId)
    {
        _require(hostingId, HostingState.Bonded);
        require(copyRoot != 0, Gate_OtherCopy(hostingId));
        copyOf[hostingId] = Copy(copyRoot, subsetRoot);
        emit CopyPrepared(hostingId, copyRoot, subsetRoot);
    }

    /// @notice The host acknowledges its copy, and the hosting becomes active. Anybody may bring the signature.
    function deliver(Delivery calldata delivery, bytes calldata signature) external {
        uint256 hostingId = delivery.hostingId;
        Hosting storage hosting = _require(hostingId, HostingState.Bonded);
        (uint256 modelId, uint32 version) = (hosting.modelId, hosting.version);
        require(registry.isServeable(modelId, version), Gate_VersionInactive(modelId, version));
        Copy memory copy = copyOf[hostingId];
        if (copy.copyRoot == 0) {
            require(registry.modelOf(modelId).openHosting, Gate_NotOpen(modelId));
            copy.copyRoot = registry.versionOf(modelId, version).terms.weightsRoot;
        }
        bool same = delivery.copyRoot == copy.copyRoot && delivery.subsetRoot == copy.subsetRoot;
        bool right = same && delivery.version == version && delivery.deliveredAt <= block.timestamp;
        require(right, Gate_OtherCopy(hostingId));
        bytes32 deliveryId = registry.digest(delivery.hash());
        _verify(hostingId, deliveryId, signature);
        hosting.state = HostingState.Active;
        hosting.nextEpoch = _epoch();
        hosting.servedUntil = STILL_SERVING;
        emit Delivered(hostingId, deliveryId, delivery.copyRoot, delivery.build);
    }

    // --- while it serves

    /// @notice Adds to a hosting's bond; anybody may.
    function topUp(uint256 hostingId, uint128 amount) external nonReentrant {
        HostingState state = _hostings[hostingId].state;
        bool open_ = state == HostingState.Bonded || state == HostingState.Active || state == HostingState.Paused;
        require(open_, Gate_NotActive(hostingId, state));
        emit BondRaised(hostingId, msg.sender, amount);
        _bind(_termsOf(hostingId), amount);
    }

    /// @notice Names another signer from now on; what the former one signed stays signed.
    function rotateSigner(uint256 hostingId, address signer) external onlyHost(hostingId) {
        _setSigner(hostingId, signer);
    }

    /// @notice Names another entry point.
    function setEndpoint(uint256 hostingId, bytes32 endpointHash) external onlyHost(hostingId) {
        _hostings[hostingId].endpointHash = endpointHash;
        emit EndpointSet(hostingId, endpointHash);
    }

    /// @notice Names another price ceiling of an invocation.
    function setPrice(uint256 hostingId, uint128 price) external onlyHost(hostingId) {
        _setPrice(_hostings[hostingId], price, _bondOf(hostingId));
        emit PriceSet(hostingId, price);
    }

    /// @notice Stops serving for a while; reports of what was served stay due.
    function pause(uint256 hostingId) external onlyHost(hostingId) {
        _require(hostingId, HostingState.Active);
        _pause(hostingId, 0);
    }

    /// @notice Serves again, once the bond is what it must be and every report is posted.
    function resume(uint256 hostingId) external onlyHost(hostingId) {
        Hosting storage hosting = _require(hostingId, HostingState.Paused);
        uint128 bond = _bondOf(hostingId);
        uint256 required = hosting.price * parameters.get(Parameter.BondFactor);
        if (required < hosting.bondRequired) required = hosting.bondRequired;
        require(bond >= required, Gate_BondTooSmall(bond, required));
        uint32 current = _epoch();
        if (hosting.servedUntil < current) {
            require(hosting.nextEpoch > hosting.servedUntil, Gate_ReportMissing(hosting.nextEpoch));
            hosting.nextEpoch = current;
        }
        hosting.state = HostingState.Active;
        hosting.servedUntil = STILL_SERVING;
        hosting.bondRequired = 0;
        emit HostingResumed(hostingId);
    }

    /// @notice Posts the report of an epoch that is over; anybody may bring what the host has signed.
    function post(UsageReport calldata report, bytes calldata signature) external nonReentrant {
        uint256 hostingId = report.hostingId;
        Hosting storage hosting = _hostings[hostingId];
        require(_isLive(hosting.state), Gate_NotActive(hostingId, hosting.state));
        _checkEpoch(hosting, report.epoch);
        require(_reports[hostingId][report.epoch].postedAt == 0, Gate_ReportExists(report.epoch));
        _verify(hostingId, registry.digest(report.hash()), signature);
        _checkSums(hosting, report);
        hosting.reported += report.amount;
        bytes32 root = Tree.root(report.count, Node(report.top, report.amount, report.tokens));
        _reports[hostingId][report.epoch] =
            Report(root, report.count, uint64(block.timestamp), report.amount, hosting.reported);
        emit ReportPosted(hostingId, report.epoch, root, report.count, report.amount, report.tokens);
        uint256 required = report.amount * parameters.get(Parameter.BondFactor);
        if (required > _bondOf(hostingId)) _pause(hostingId, _small(required));
        if (report.epoch == hosting.nextEpoch) {
            hosting.nextEpoch = report.epoch + 1;
            _fine(hostingId, report.epoch);
        }
    }

    /// @notice Fines and pauses a hosting whose report is a day late; anybody may.
    function lapse(uint256 hostingId) external nonReentrant {
        Hosting storage hosting = _hostings[hostingId];
        uint32 epoch = hosting.nextEpoch;
        bool owes = _isLive(hosting.state) && epoch <= hosting.servedUntil && epoch < _epoch();
        require(owes && _hoursLate(epoch) >= parameters.get(Parameter.LateHoursMax), Gate_BadEpoch(epoch));
        _fine(hostingId, epoch);
    }

    /// @notice Takes from the bond what was reported and not collected long after; anybody may.
    function settleDue(uint256 hostingId, uint32 epoch) external nonReentrant returns (uint128 amount) {
        Hosting storage hosting = _hostings[hostingId];
        Report storage report = _reports[hostingId][epoch];
        uint128 collected = router.collectedOf(hostingId);
        bool ripe = report.postedAt != 0 && block.timestamp >= report.postedAt + parameters.get(Parameter.DuesAfter);
        require(ripe && report.cumulative > collected, Gate_NothingDue(hostingId));
        Position memory position = vault.positionOf(hosting.position);
        amount = _small(_least(report.cumulative - collected, uint256(position.bound) + position.thawing));
        require(amount != 0, Gate_NothingDue(hostingId));
        emit DueSettled(hostingId, epoch, amount);
        address till = router.tillOf(hostingId, address(0));
        Destination[] memory all = new Destination[](1);
        all[0] = Destination(till, amount);
        vault.slash(hosting.position, all);
        vault.distribute(till, hosting.asset);
        router.collect(hostingId, address(0), hosting.asset);
    }

    // --- a hosting ends

    /// @notice Ends a hosting; its bond thaws. Needs every report and no open claim.
    function exit(uint256 hostingId) external onlyHost(hostingId) {
        Hosting storage hosting = _hostings[hostingId];
        require(vault.positionOf(hosting.position).freezes == 0, Gate_ClaimOpen(hostingId));
        HostingState state = hosting.state;
        if (state == HostingState.Bonded) {
            hosting.nextEpoch = 1;
        } else {
            bool serving = state == HostingState.Active;
            require(serving || state == HostingState.Paused, Gate_NotActive(hostingId, state));
            bool whole = hosting.nextEpoch >= _epoch() || hosting.nextEpoch > hosting.servedUntil;
            require(whole, Gate_ReportMissing(hosting.nextEpoch));
            if (serving) hosting.servedUntil = _epoch();
        }
        _leave(hostingId);
    }

    /// @notice Closes a hosting whose exit is over, and sends the bond to the host; anybody may.
    function close(uint256 hostingId) external nonReentrant {
        Hosting storage hosting = _require(hostingId, HostingState.Exiting);
        require(block.timestamp >= hosting.exitsAt, Gate_Exiting(hosting.exitsAt));
        require(hosting.nextEpoch > hosting.servedUntil, Gate_ReportMissing(hosting.nextEpoch));
        hosting.state = HostingState.Closed;
        emit HostingClosed(hostingId);
        if (vault.positionOf(hosting.position).thawing != 0) vault.withdraw(hosting.position);
    }

    // --- the court

    /// @notice Holds a hosting's bond while a claim is open; only the court may.
    function freeze(uint256 hostingId) external onlyCourt {
        vault.freeze(_hostings[hostingId].position);
    }

    /// @notice Undoes one `freeze`; only the court may.
    function unfreeze(uint256 hostingId) external onlyCourt {
        vault.unfreeze(_hostings[hostingId].position);
    }

    /// @notice Convicts a hosting: takes `amount` of its bond, and ends it where `closes`; only the court may.
    /// @param claimants Their parts, half of the amount at most; what they do not get falls to the model's shares.
    function convict(uint256 hostingId, uint128 amount, Destination[] calldata claimants, bool closes)
        external
        onlyCourt
        nonReentrant
    {
        Hosting storage hosting = _hostings[hostingId];
        require(
            hosting.state != HostingState.None && hosting.state != HostingState.Closed,
            Gate_NotActive(hostingId, hosting.state)
        );
        emit HostingConvicted(hostingId, amount, ++hosting.convictions);
        if (closes && hosting.state != HostingState.Exiting) {
            hosting.servedUntil = 0;
            hosting.nextEpoch = 1;
            _leave(hostingId);
        }
        _punish(hostingId, amount, claimants);
    }

    // --- enclaves

    /// @notice Allows an attested image to serve a model until a time, or revokes it with zero.
    function setImage(uint256 modelId, bytes32 image, uint64 until) external onlyController(modelId) {
        imageUntil[modelId][image] = until;
        if (until == 0) emit ImageRevoked(modelId, image);
        else emit ImageAllowed(modelId, image, until);
    }

    // --- views

    /// @inheritdoc IGate
    function hostingOf(uint256 hostingId) external view returns (Hosting memory) {
        return _hostings[hostingId];
    }

    /// @inheritdoc IGate
    function partiesOf(uint256 hostingId) external view returns (HostingParties memory) {
        Hosting storage hosting = _hostings[hostingId];
        return HostingParties(hosting.modelId, hosting.version, hosting.host, hosting.asset);
    }

    /// @notice The report of an epoch.
    function reportOf(uint256 hostingId, uint32 epoch) external view returns (Report memory) {
        return _reports[hostingId][epoch];
    }

    /// @notice Who signed for a hosting at a time.
    function signerAt(uint256 hostingId, uint48 time) external view returns (address) {
        return address(uint160(_signers[hostingId].upperLookup(time)));
    }

    /// @notice A hosting's bond that is not thawing.
    function bondOf(uint256 hostingId) external view returns (uint128) {
        return _bondOf(hostingId);
    }

    // --- the straight parts

    function _setPrice(Hosting storage hosting, uint128 price, uint128 bond) private {
        Floor memory floor = registry.floorOf(hosting.modelId, hosting.asset);
        require(floor.accepted, Gate_AssetRefused(hosting.modelId, hosting.asset));
        require(price >= floor.perCall, Gate_BelowFloor(price, floor.perCall));
        uint256 required = price * parameters.get(Parameter.BondFactor);
        require(bond >= required && bond != 0, Gate_BondTooSmall(bond, required));
        hosting.price = price;
    }

    function _setSigner(uint256 hostingId, address signer) private {
        require(signer != address(0) && signer.code.length == 0, Gate_BadSigner(signer));
        _signers[hostingId].push(uint48(block.timestamp), uint160(signer));
        emit SignerRotated(hostingId, signer);
    }

    /// @dev The floor is asked of the whole report: per call, and per thousand tokens.
    function _checkSums(Hosting storage hosting, UsageReport calldata report) private view {
        if (report.count == 0) require(report.amount == 0 && report.tokens == 0 && report.top == 0, Gate_BadReport());
        Floor memory floor = registry.floorOf(hosting.modelId, hosting.asset);
        uint256 least = uint256(floor.perCall) * report.count + (uint256(floor.perThousand) * report.tokens) / 1_000;
        require(report.amount >= least, Gate_BelowFloor(report.amount, least));
    }

    function _checkEpoch(Hosting storage hosting, uint32 epoch) private view {
        uint256 ended = parameters.epochStart(epoch + 1);
        bool recent = block.timestamp >= ended && block.timestamp < ended + parameters.get(Parameter.DuesAfter);
        require(recent, Gate_BadEpoch(epoch));
        require(epoch <= hosting.nextEpoch, Gate_ReportMissing(hosting.nextEpoch));
    }

    /// @dev A report that is too late by all hours ends the service; the days since then were not served.
    function _fine(uint256 hostingId, uint32 epoch) private {
        uint256 late = _hoursLate(epoch);
        if (late == 0) return;
        uint128 bond = _bondOf(hostingId);
        uint128 amount = uint128((bond * late * parameters.get(Parameter.LateBpsPerHour)) / 10_000);
        emit ReportLate(hostingId, epoch, late, amount);
        if (late >= parameters.get(Parameter.LateHoursMax)) {
            _pause(hostingId, bond);
            Hosting storage hosting = _hostings[hostingId];
            uint256 next = _least(_epoch(), uint256(hosting.servedUntil) + 1);
            if (next > hosting.nextEpoch) hosting.nextEpoch = uint32(next);
        }
        _punish(hostingId, amount, new Destination[](0));
    }

    function _hoursLate(uint32 epoch) private view returns (uint256) {
        uint256 due = parameters.epochStart(epoch + 1) + parameters.get(Parameter.ReportDue);
        if (block.timestamp <= due) return 0;
        return _least((block.timestamp - due + 1 hours - 1) / 1 hours, parameters.get(Parameter.LateHoursMax));
    }

    function _pause(uint256 hostingId, uint128 required) private {
        Hosting storage hosting = _hostings[hostingId];
        if (required > hosting.bondRequired) hosting.bondRequired = required;
        if (hosting.state != HostingState.Active) return;
        hosting.state = HostingState.Paused;
        hosting.servedUntil = _epoch();
        emit HostingPaused(hostingId, hosting.bondRequired);
    }

    function _leave(uint256 hostingId) private {
        Hosting storage hosting = _hostings[hostingId];
        hosting.state = HostingState.Exiting;
        hosting.exitsAt = uint64(block.timestamp + parameters.get(Parameter.Thaw));
        emit HostingExiting(hostingId, hosting.exitsAt);
        uint128 bond = _bondOf(hostingId);
        if (bond != 0) vault.thaw(hosting.position, bond);
    }

    /// @dev Claimants up to a half, a fifth burnt, the rest to the model's shares.
    function _punish(uint256 hostingId, uint128 amount, Destination[] memory claimants) private {
        if (amount == 0) return;
        Hosting storage hosting = _hostings[hostingId];
        Destination[] memory all = new Destination[](claimants.length + 2);
        uint128 given = 0;
        for (uint256 i = 0; i < claimants.length; ++i) {
            all[i] = claimants[i];
            given += claimants[i].amount;
        }
        require(given <= amount / CLAIMANTS_DIVISOR, Gate_ClaimantsShare(given, amount));
        uint128 burnt = amount / BURN_DIVISOR;
        uint128 toShares = amount - given - burnt;
        all[claimants.length] = Destination(address(0), burnt);
        all[claimants.length + 1] = Destination(address(this), toShares);
        vault.slash(hosting.position, all);
        if (toShares == 0) return;
        vault.distribute(address(this), hosting.asset);
        IERC20(hosting.asset).forceApprove(address(router), toShares);
        router.contribute(hosting.modelId, hosting.asset, toShares);
    }

    function _bind(Terms memory terms, uint128 amount) private returns (bytes32) {
        IERC20 asset = IERC20(terms.asset);
        asset.safeTransferFrom(msg.sender, address(this), amount);
        asset.forceApprove(address(vault), amount);
        return vault.bind(terms, amount);
    }

    function _verify(uint256 hostingId, bytes32 digest, bytes calldata signature) private view {
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        bool good = failure == ECDSA.RecoverError.NoError && signer == address(uint160(_signers[hostingId].latest()));
        require(good, Gate_BadSignature(hostingId));
    }

    function _require(uint256 hostingId, HostingState state) private view returns (Hosting storage hosting) {
        hosting = _hostings[hostingId];
        require(hosting.state == state, Gate_NotActive(hostingId, hosting.state));
    }

    function _termsOf(uint256 hostingId) private view returns (Terms memory) {
        Hosting storage hosting = _hostings[hostingId];
        return Terms(address(this), address(this), hosting.host, hosting.asset, bytes32(hostingId));
    }

    function _bondOf(uint256 hostingId) private view returns (uint128) {
        return vault.boundOf(_termsOf(hostingId));
    }

    function _epoch() private view returns (uint32) {
        return parameters.epochAt(block.timestamp);
    }

    function _isLive(HostingState state) private pure returns (bool) {
        return state == HostingState.Active || state == HostingState.Paused || state == HostingState.Exiting;
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _small(uint256 value) private pure returns (uint128) {
        return value > type(uint128).max ? type(uint128).max : uint128(value);
    }
}
