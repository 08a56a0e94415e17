// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IModelShares} from "./interfaces/IModelShares.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {IRegistry, VersionState, VersionTerms} from "./interfaces/IRegistry.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IStakeVault, Terms} from "./interfaces/IStakeVault.sol";
import {Agreement, Messages} from "./libraries/Messages.sol";
import {ModelTreasury} from "./ModelTreasury.sol";

/// @notice What makes a model.
struct Creation {
    string name;
    string symbol;
    bool openHosting;
    VersionTerms version;
    Agreement agreement;
    bytes[] signatures;
}

/// @notice The other contracts the factory knows.
struct FactoryParties {
    IRegistry registry;
    IRevenueRouter router;
    IStakeVault vault;
    IParameters parameters;
    IERC20 currency;
    address court;
    address sharesCode;
    address treasuryCode;
}

/// @title Makes a model of an agreement that everybody named in it has signed
/// @notice Deploys the model's shares and treasury, mints, and keeps the owner's bond at risk while others may claim that the
/// model is theirs.
contract ModelFactory {
    using SafeERC20 for IERC20;
    using Messages for Agreement;

    IRegistry public immutable registry;
    IRevenueRouter public immutable router;
    IStakeVault public immutable vault;
    IParameters public immutable parameters;
    IERC20 public immutable currency;
    address public immutable court;
    /// @notice The code of all shares.
    address public immutable sharesCode;
    /// @notice The code of all treasuries.
    address public immutable treasuryCode;

    /// @notice Where a model's onboarding bond is.
    mapping(uint256 modelId => bytes32) public bondOf;

    /// @notice A model exists.
    event ModelCreated(
        uint256 indexed modelId, address indexed owner, address shares, address treasury, bytes32 agreementId
    );
    /// @notice The owner's bond begins to thaw.
    event BondReleased(uint256 indexed modelId, uint128 amount);

    /// @dev A named account has not signed the agreement.
    error Factory_UnsignedGrant(address account);
    /// @dev The parts and the reserve do not make 10,000.
    error Factory_SplitSum(uint256 sum);
    /// @dev The agreement speaks of another model.
    error Factory_OtherSubject(bytes32 expected, bytes32 found);
    /// @dev The agreement was to be used earlier.
    error Factory_Expired(uint64 expiresAt);
    /// @dev Others may still claim the model, or the bond was released before.
    error Factory_BondHeld(uint256 modelId);

    constructor(FactoryParties memory parties) {
        registry = parties.registry;
        router = parties.router;
        vault = parties.vault;
        parameters = parties.parameters;
        currency = parties.currency;
        court = parties.court;
        sharesCode = parties.sharesCode;
        treasuryCode = parties.treasuryCode;
    }

    /// @notice Makes a model; the caller becomes its owner and puts up the bond, for which it has approved this contract.
    function create(Creation calldata creation) external returns (uint256 modelId) {
        bytes32 agreementId = _checkAgreement(creation);
        bytes32 salt = keccak256(abi.encode(msg.sender, agreementId));
        address shares = Clones.predictDeterministicAddress(sharesCode, salt);
        address treasury = Clones.predictDeterministicAddress(treasuryCode, salt);
        modelId = registry.register(msg.sender, shares, treasury, creation.openHosting, creation.version);
        emit ModelCreated(modelId, msg.sender, shares, treasury, agreementId);
        ModelTreasury(Clones.cloneDeterministic(treasuryCode, salt)).initialize(modelId);
        Agreement calldata agreement = creation.agreement;
        IModelShares(Clones.cloneDeterministic(sharesCode, salt))
            .initialize(modelId, creation.name, creation.symbol, agreement.grants, treasury, agreement.reserveBps);
        if (agreement.grants.length != 0) router.openTrainers(modelId, agreement.grants);
        _bind(modelId);
    }

    /// @notice Lets the owner's bond thaw once the first version's window has closed; anybody may.
    function releaseBond(uint256 modelId) external {
        VersionState state = registry.stateOf(modelId, 1);
        bool open = state == VersionState.None || state == VersionState.Contestable;
        bytes32 id = bondOf[modelId];
        uint128 amount = vault.positionOf(id).bound;
        require(!open && amount != 0, Factory_BondHeld(modelId));
        emit BondReleased(modelId, amount);
        vault.thaw(id, amount);
    }

    /// @notice What an agreement must name as its subject.
    function subjectOf(bytes32 manifestRoot, bytes32 fingerprintRoot) public pure returns (bytes32) {
        return keccak256(abi.encode(manifestRoot, fingerprintRoot));
    }

    function _checkAgreement(Creation calldata creation) private view returns (bytes32 agreementId) {
        Agreement calldata agreement = creation.agreement;
        require(block.timestamp < agreement.expiresAt, Factory_Expired(agreement.expiresAt));
        bytes32 fingerprints = registry.fingerprintRootOf(creation.version.committer, creation.version.leafRoot);
        bytes32 subject = subjectOf(creation.version.manifestRoot, fingerprints);
        require(agreement.subject == subject, Factory_OtherSubject(subject, agreement.subject));
        agreementId = registry.digest(agreement.hash());
        uint256 sum = agreement.reserveBps;
        for (uint256 i = 0; i < agreement.grants.length; ++i) {
            address account = agreement.grants[i].account;
            sum += agreement.grants[i].bps;
            bool signed = i < creation.signatures.length
                && SignatureChecker.isValidSignatureNowCalldata(account, agreementId, creation.signatures[i]);
            require(signed, Factory_UnsignedGrant(account));
        }
        require(sum == 10_000, Factory_SplitSum(sum));
    }

    function _bind(uint256 modelId) private {
        uint128 bond = uint128(parameters.get(Parameter.OnboardingBond));
        Terms memory terms = Terms(court, address(this), msg.sender, address(currency), bytes32(modelId));
        currency.safeTransferFrom(msg.sender, address(this), bond);
        currency.forceApprove(address(vault), bond);
        bondOf[modelId] = vault.bind(terms, bond);
    }
}
