// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {HostingParties, IGate} from "./interfaces/IGate.sol";
import {IModelShares} from "./interfaces/IModelShares.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {IRegistry, VersionState} from "./interfaces/IRegistry.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Grant} from "./libraries/Messages.sol";
import {Parts, Route, Split} from "./libraries/Split.sol";
import {Till} from "./Till.sol";

/// @notice The other contracts the router knows.
struct RouterParties {
    IRegistry registry;
    IGate gate;
    IParameters parameters;
    address factory;
    address treasury;
    address probeBoard;
    address court;
    address ledger;
}

/// @notice Classes whose part waits in a pool for the contract that divides it.
enum Pool {
    Contributors,
    Provers,
    Validators
}

/// @title Divides what invocations bring in
/// @notice Every amount that arrives is owed to somebody at once, or locked with the version that earned it; whoever is owed
/// takes it, and anybody may send it. The balance of an asset is exactly what is owed, pooled, accrued and locked in it.
contract RevenueRouter is IRevenueRouter, Multicall, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Split for Route;
    using SafeCast for uint256;

    /// @notice Trainers of a model since one agreement or vote; a new one leaves the old one's accruals in place.
    struct Crew {
        uint128 weight;
        mapping(address trainer => uint128) weightOf;
        mapping(address asset => uint256) perWeight;
        mapping(address trainer => mapping(address asset => uint256)) paidPerWeight;
    }

    /// @notice Where an amount comes from.
    struct Origin {
        uint256 hostingId;
        address builder;
        address asset;
    }

    /// @notice A model's route, and the one that follows.
    struct Plan {
        bool own;
        uint32 nextEpoch;
        Route route;
        Route next;
    }

    /// Accruals per weight are kept with 36 digits, decimal so that round splits stay exact.
    uint256 internal constant PRECISION = 1e36;
    /// @notice How many trainers a model names at most.
    uint256 public constant TRAINERS_MAX = 64;

    IRegistry public immutable registry;
    IGate public immutable gate;
    IParameters public immutable parameters;
    address public immutable factory;
    address public immutable treasury;
    address public immutable probeBoard;
    address public immutable court;
    address public immutable ledger;
    /// @notice The code of all tills.
    address public immutable till;

    /// @notice What an account may withdraw.
    mapping(address account => mapping(address asset => uint256)) public owed;
    /// @notice What waits for the contract that divides it, by model.
    mapping(Pool => mapping(uint256 modelId => mapping(address asset => uint256))) public pooled;
    /// @notice Revenue of a version that may still be revoked, by till.
    mapping(address till => mapping(address asset => uint256)) public locked;
    /// @inheritdoc IRevenueRouter
    mapping(uint256 hostingId => uint128) public collectedOf;
    /// @notice How many crews of trainers a model has had.
    mapping(uint256 modelId => uint32) public crewCount;

    mapping(uint256 modelId => mapping(uint32 crew => Crew)) private _crews;
    mapping(uint256 modelId => Plan) private _plans;

    /// @notice A till was emptied.
    event Collected(
        uint256 indexed modelId, uint256 indexed hostingId, address indexed builder, address asset, uint256 amount
    );
    /// @notice Revenue waits for the end of its version's window.
    event Locked(uint256 indexed modelId, uint32 indexed version, address indexed till, address asset, uint256 amount);
    /// @notice Locked revenue is free; to whom it goes follows.
    event Released(
        uint256 indexed modelId, uint32 indexed version, address indexed till, address asset, uint256 amount
    );
    /// @notice An amount was divided.
    event Allocated(uint256 indexed modelId, uint256 indexed hostingId, address indexed asset, Parts parts);
    /// @notice An ancestor, or the holders of a model, received an amount outside of the model's own split.
    event Contributed(uint256 indexed modelId, uint256 indexed from, address indexed asset, uint256 amount);
    /// @notice An account was sent what it was owed.
    event Withdrawn(address indexed account, address indexed asset, uint256 amount);
    /// @notice An amount of a pool went to an account.
    event PoolDrawn(Pool indexed pool, uint256 indexed modelId, address indexed account, address asset, uint256 amount);
    /// @notice A model's route changes with an epoch.
    event RouteScheduled(uint256 indexed modelId, uint32 indexed epoch, Route route);
    /// @notice A model has new trainers.
    event TrainersSet(uint256 indexed modelId, uint32 indexed crew, Grant[] trainers);

    /// @dev The parts do not sum to 10,000, or a class moves by more than 1,000 at once.
    error Router_RouteSum(uint256 sum);
    error Router_RouteStep();
    /// @dev The version's window is still open.
    error Router_Locked(uint256 modelId, uint32 version);
    /// @dev The caller does not control the model.
    error Router_NotController(uint256 modelId, address caller);
    /// @dev The caller is not the contract this is for.
    error Router_NotParty(address caller);
    /// @dev No trainers, too many, one without weight, or one named twice.
    error Router_BadTrainers();
    /// @dev The model does not take this asset.
    error Router_AssetRefused(uint256 modelId, address asset);
    /// @dev More than the pool holds.
    error Router_PoolEmpty(uint256 asked, uint256 available);
    /// @dev The asset took a fee on the way in.
    error Router_AmountChanged(address asset, uint256 expected, uint256 received);

    modifier onlyController(uint256 modelId) {
        require(registry.controllerOf(modelId) == msg.sender, Router_NotController(modelId, msg.sender));
        _;
    }

    constructor(RouterParties memory parties) {
        registry = parties.registry;
        gate = parties.gate;
        parameters = parties.parameters;
        factory = parties.factory;
        treasury = parties.treasury;
        probeBoard = parties.probeBoard;
        court = parties.court;
        ledger = parties.ledger;
        till = address(new Till(address(this)));
    }

    // --- in

    /// @inheritdoc IRevenueRouter
    function tillOf(uint256 hostingId, address builder) public view returns (address) {
        bytes memory args = abi.encode(hostingId, builder);
        return Clones.predictDeterministicAddressWithImmutableArgs(till, args, keccak256(args));
    }

    /// @inheritdoc IRevenueRouter
    function collect(uint256 hostingId, address builder, address asset) external nonReentrant returns (uint256 amount) {
        HostingParties memory hosting = gate.partiesOf(hostingId);
        address payee = tillOf(hostingId, builder);
        if (IERC20(asset).balanceOf(payee) == 0) return 0;
        _takes(hosting.modelId, asset);
        amount = _sweep(payee, hostingId, builder, asset);
        if (asset == hosting.asset) collectedOf[hostingId] += amount.toUint128();
        emit Collected(hosting.modelId, hostingId, builder, asset, amount);
        VersionState state = registry.stateOf(hosting.modelId, hosting.version);
        if (state == VersionState.Contestable) {
            locked[payee][asset] += amount;
            emit Locked(hosting.modelId, hosting.version, payee, asset, amount);
        } else {
            _allocate(hosting, state, Origin(hostingId, builder, asset), amount);
        }
    }

    /// @notice Frees a till's locked revenue: to the model's own split once the version is active, wholly to the winning
    /// claimant's model once it is revoked.
    function release(uint256 hostingId, address builder, address asset) external nonReentrant returns (uint256 amount) {
        HostingParties memory hosting = gate.partiesOf(hostingId);
        VersionState state = registry.stateOf(hosting.modelId, hosting.version);
        require(state != VersionState.Contestable, Router_Locked(hosting.modelId, hosting.version));
        address payee = tillOf(hostingId, builder);
        amount = locked[payee][asset];
        if (amount == 0) return 0;
        locked[payee][asset] = 0;
        emit Released(hosting.modelId, hosting.version, payee, asset, amount);
        _allocate(hosting, state, Origin(hostingId, builder, asset), amount);
    }

    /// @inheritdoc IRevenueRouter
    function contribute(uint256 modelId, address asset, uint256 amount) external nonReentrant {
        _takes(modelId, asset);
        uint256 before = IERC20(asset).balanceOf(address(this));
        IERC20(asset).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(asset).balanceOf(address(this)) - before;
        require(received == amount, Router_AmountChanged(asset, amount, received));
        emit Contributed(modelId, 0, asset, amount);
        _toShares(modelId, asset, amount);
    }

    // --- out

    /// @inheritdoc IRevenueRouter
    function withdraw(address account, address asset) external nonReentrant returns (uint256 amount) {
        amount = owed[account][asset];
        if (amount == 0) return 0;
        owed[account][asset] = 0;
        emit Withdrawn(account, asset, amount);
        IERC20(asset).safeTransfer(account, amount);
    }

    /// @notice Moves what a trainer has accrued in a crew to what it is owed.
    function accrue(uint256 modelId, uint32 crew, address trainer, address asset) external returns (uint256 amount) {
        amount = accrued(modelId, crew, trainer, asset);
        Crew storage entry = _crews[modelId][crew];
        entry.paidPerWeight[trainer][asset] = entry.perWeight[asset];
        owed[trainer][asset] += amount;
    }

    /// @notice Sends an amount of a pool; only the contract that divides the pool may.
    function drawPool(Pool pool, uint256 modelId, address asset, address account, uint256 amount)
        external
        nonReentrant
    {
        address party = pool == Pool.Contributors ? ledger : pool == Pool.Provers ? probeBoard : court;
        require(msg.sender == party, Router_NotParty(msg.sender));
        uint256 available = pooled[pool][modelId][asset];
        require(amount <= available, Router_PoolEmpty(amount, available));
        pooled[pool][modelId][asset] = available - amount;
        emit PoolDrawn(pool, modelId, account, asset, amount);
        IERC20(asset).safeTransfer(account, amount);
    }

    /// @notice All that an account may withdraw in an asset now, with what it accrued as a trainer of these models.
    function withdrawable(address account, address asset, uint256[] calldata modelIds)
        external
        view
        returns (uint256 amount)
    {
        amount = owed[account][asset];
        for (uint256 i = 0; i < modelIds.length; ++i) {
            for (uint32 crew = 1; crew <= crewCount[modelIds[i]]; ++crew) {
                amount += accrued(modelIds[i], crew, account, asset);
            }
        }
    }

    /// @notice What a trainer has accrued in a crew and not moved yet.
    function accrued(uint256 modelId, uint32 crew, address trainer, address asset) public view returns (uint256) {
        Crew storage entry = _crews[modelId][crew];
        uint256 more = entry.perWeight[asset] - entry.paidPerWeight[trainer][asset];
        return Math.mulDiv(entry.weightOf[trainer], more, PRECISION);
    }

    // --- policy of a model

    /// @notice A model's route from the next epoch on; what was collected before stays divided as it is.
    function scheduleRoute(uint256 modelId, Route calldata route) external onlyController(modelId) {
        uint256 sum = route.sum();
        require(sum == Split.WHOLE, Router_RouteSum(sum));
        Route memory current = routeOf(modelId);
        require(current.isStep(route), Router_RouteStep());
        Plan storage plan = _plans[modelId];
        plan.own = true;
        plan.route = current;
        plan.next = route;
        plan.nextEpoch = parameters.epochAt(block.timestamp) + 1;
        emit RouteScheduled(modelId, plan.nextEpoch, route);
    }

    /// @notice Names a model's trainers anew; what the former ones have accrued stays theirs.
    function setTrainers(uint256 modelId, Grant[] calldata trainers) external onlyController(modelId) {
        _setTrainers(modelId, trainers);
    }

    /// @inheritdoc IRevenueRouter
    function openTrainers(uint256 modelId, Grant[] calldata trainers) external {
        require(msg.sender == factory && crewCount[modelId] == 0, Router_NotParty(msg.sender));
        _setTrainers(modelId, trainers);
    }

    /// @notice The route of a model now.
    function routeOf(uint256 modelId) public view returns (Route memory) {
        Plan storage plan = _plans[modelId];
        if (!plan.own) return Split.standard();
        return parameters.epochAt(block.timestamp) >= plan.nextEpoch ? plan.next : plan.route;
    }

    /// @notice The weight of a trainer in a crew, and of the whole crew.
    function weightOf(uint256 modelId, uint32 crew, address trainer) external view returns (uint128, uint128) {
        Crew storage entry = _crews[modelId][crew];
        return (entry.weightOf[trainer], entry.weight);
    }

    // --- the straight parts

    function _sweep(address payee, uint256 hostingId, address builder, address asset) private returns (uint256) {
        if (payee.code.length == 0) {
            bytes memory args = abi.encode(hostingId, builder);
            Clones.cloneDeterministicWithImmutableArgs(till, args, keccak256(args));
        }
        uint256 before = IERC20(asset).balanceOf(address(this));
        Till(payee).sweep(IERC20(asset));
        return IERC20(asset).balanceOf(address(this)) - before;
    }

    /// @dev Nothing is called here but our own contracts, and no asset moves.
    // slither-disable-next-line reentrancy-no-eth
    function _allocate(HostingParties memory hosting, VersionState state, Origin memory origin, uint256 amount)
        private
    {
        uint256 modelId = hosting.modelId;
        address asset = origin.asset;
        if (state == VersionState.Revoked) {
            _forfeit(modelId, hosting.version, asset, amount);
            return;
        }
        Crew storage crew = _crews[modelId][crewCount[modelId]];
        uint256 feeBps = parameters.get(Parameter.ProtocolFeeBps);
        Parts memory parts =
            Split.divide(amount, feeBps, routeOf(modelId), crew.weight != 0, origin.builder != address(0));
        emit Allocated(modelId, origin.hostingId, asset, parts);
        owed[treasury][asset] += parts.fee;
        owed[hosting.host][asset] += parts.host;
        if (parts.builder != 0) owed[origin.builder][asset] += parts.builder;
        if (parts.trainers != 0) crew.perWeight[asset] += Math.mulDiv(parts.trainers, PRECISION, crew.weight);
        pooled[Pool.Contributors][modelId][asset] += parts.contributors;
        pooled[Pool.Provers][modelId][asset] += parts.provers;
        pooled[Pool.Validators][modelId][asset] += parts.validators;
        uint256 royalties = _royalties(modelId, hosting.version, asset, parts.shares);
        _toShares(modelId, asset, parts.shares - royalties);
    }

    /// @dev Locked revenue of a revoked version goes wholly to the winning claimant's model, without split or fee.
    function _forfeit(uint256 modelId, uint32 version, address asset, uint256 amount) private {
        uint256 beneficiary = registry.versionOf(modelId, version).beneficiary;
        emit Contributed(beneficiary, modelId, asset, amount);
        _toShares(beneficiary, asset, amount);
    }

    function _royalties(uint256 modelId, uint32 version, address asset, uint256 sharesPart)
        private
        returns (uint256 total)
    {
        (uint256 parent, uint32 parentVersion) = registry.parentOf(modelId, version);
        if (parent == 0 || sharesPart == 0) return 0;
        uint256 royaltyBps = parameters.get(Parameter.RoyaltyBps);
        for (uint256 i = 0; i < Split.GENERATIONS && parent != 0; ++i) {
            uint256 amount = Split.royalty(sharesPart, royaltyBps, i);
            total += amount;
            emit Contributed(parent, modelId, asset, amount);
            _toShares(parent, asset, amount);
            (parent, parentVersion) = registry.parentOf(parent, parentVersion);
        }
    }

    /// @dev A model that does not take the asset gets it in its treasury; no model, in the protocol's.
    function _toShares(uint256 modelId, address asset, uint256 amount) private {
        if (amount == 0) return;
        if (modelId == 0) {
            owed[treasury][asset] += amount;
        } else if (registry.floorOf(modelId, asset).accepted) {
            address shares = registry.modelOf(modelId).shares;
            owed[shares][asset] += amount;
            IModelShares(shares).distribute(asset, amount);
        } else {
            owed[registry.modelOf(modelId).treasury][asset] += amount;
        }
    }

    function _setTrainers(uint256 modelId, Grant[] calldata trainers) private {
        require(trainers.length != 0 && trainers.length <= TRAINERS_MAX, Router_BadTrainers());
        uint32 count = ++crewCount[modelId];
        Crew storage crew = _crews[modelId][count];
        uint128 weight = 0;
        for (uint256 i = 0; i < trainers.length; ++i) {
            Grant calldata trainer = trainers[i];
            bool fresh = trainer.account != address(0) && crew.weightOf[trainer.account] == 0;
            require(fresh && trainer.bps != 0, Router_BadTrainers());
            crew.weightOf[trainer.account] = trainer.bps;
            weight += trainer.bps;
        }
        crew.weight = weight;
        emit TrainersSet(modelId, count, trainers);
    }

    function _takes(uint256 modelId, address asset) private view {
        require(registry.floorOf(modelId, asset).accepted, Router_AssetRefused(modelId, asset));
    }
}
