// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Creation, ModelFactory} from "../src/ModelFactory.sol";
import {ModelShares} from "../src/ModelShares.sol";
import {ModelTreasury} from "../src/ModelTreasury.sol";
import {Model, ModelState} from "../src/interfaces/IRegistry.sol";
import {Position} from "../src/interfaces/IStakeVault.sol";
import {Agreement, Grant, Messages} from "../src/libraries/Messages.sol";
import {Wallet} from "./Coin.sol";
import {World} from "./World.sol";

contract FactoryCreateTest is World {
    using Messages for Agreement;

    /// @dev Golden case 1.
    function test_AgreementOfTheWhitepaper() public {
        uint256 modelId = contestable("first");
        ModelShares shares = sharesOf(modelId);
        eq(shares.balanceOf(vm.addr(ALICE)), 300_000e18, "Alice");
        eq(shares.balanceOf(vm.addr(BOB)), 150_000e18, "Bob");
        eq(shares.balanceOf(vm.addr(CHARLIE)), 150_000e18, "Charlie");
        eq(shares.balanceOf(address(treasuryOf(modelId))), 400_000e18, "reserve");
        eq(shares.totalSupply(), 1_000_000e18, "supply");
        Model memory model = registry.modelOf(modelId);
        eq(uint8(model.state), uint8(ModelState.Contestable), "state");
        eq(registry.ownerOf(modelId), owner, "controller");
        (uint128 weight, uint128 whole) = router.weightOf(modelId, 1, vm.addr(ALICE));
        eq(weight, 3_000, "trainer");
        eq(whole, 6_000, "trainers");
    }

    function test_BondIsAtRisk() public {
        uint256 modelId = contestable("first");
        Position memory position = vault.positionOf(factory.bondOf(modelId));
        eq(position.bound, 1_000e18, "bond");
        eq(position.terms.owner, owner, "owner");
        eq(position.terms.arbiter, court, "arbiter");
    }

    function test_EverySignatureIsNeeded() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        creation.signatures[2] = creation.signatures[1];
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_UnsignedGrant.selector, vm.addr(CHARLIE)));
        vm.prank(owner);
        factory.create(creation);
        bytes[] memory two = new bytes[](2);
        (two[0], two[1]) = (creation.signatures[0], creation.signatures[1]);
        creation.signatures = two;
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_UnsignedGrant.selector, vm.addr(CHARLIE)));
        vm.prank(owner);
        factory.create(creation);
    }

    function test_PartsMustBeTheWhole(uint16 reserve) public {
        vm.assume(reserve != 4_000);
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        creation.agreement.reserveBps = reserve;
        creation.signatures = sign(creation.agreement);
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_SplitSum.selector, 6_000 + uint256(reserve)));
        vm.prank(owner);
        factory.create(creation);
    }

    function test_AgreementIsAboutThisModelAndTime() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        creation.version.manifestRoot = keccak256("another");
        vm.expectRevert();
        vm.prank(owner);
        factory.create(creation);
        creation = draft(owner, termsOf(owner, "second"));
        vm.warp(creation.agreement.expiresAt);
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_Expired.selector, creation.agreement.expiresAt));
        vm.prank(owner);
        factory.create(creation);
    }

    function test_AnAgreementMakesOneModel() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        vm.startPrank(owner);
        factory.create(creation);
        vm.expectRevert();
        factory.create(creation);
        vm.stopPrank();
    }

    function test_ContractsSignToo() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        Wallet wallet = new Wallet(vm.addr(ALICE));
        creation.agreement.grants[0].account = address(wallet);
        creation.signatures = sign(creation.agreement);
        vm.prank(owner);
        uint256 modelId = factory.create(creation);
        eq(sharesOf(modelId).balanceOf(address(wallet)), 300_000e18, "a contract's shares");
    }

    function test_AllMayStayInReserve() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        creation.agreement.grants = new Grant[](0);
        creation.agreement.reserveBps = 10_000;
        creation.signatures = new bytes[](0);
        vm.prank(owner);
        uint256 modelId = factory.create(creation);
        eq(sharesOf(modelId).balanceOf(address(treasuryOf(modelId))), 1_000_000e18, "reserve");
        eq(router.crewCount(modelId), 0, "no trainers");
    }

    function test_BondThawsAfterTheWindow() public {
        uint256 modelId = contestable("first");
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_BondHeld.selector, modelId));
        factory.releaseBond(modelId);
        skip(7 days);
        registry.activate(modelId, 1);
        factory.releaseBond(modelId);
        vm.expectRevert(abi.encodeWithSelector(ModelFactory.Factory_BondHeld.selector, modelId));
        factory.releaseBond(modelId);
        skip(14 days);
        uint256 before = currency.balanceOf(owner);
        bytes32 bond = factory.bondOf(modelId);
        vault.withdraw(bond);
        eq(currency.balanceOf(owner) - before, 1_000e18, "bond back");
    }

    function test_ClonesAreMadeOnce() public {
        uint256 modelId = contestable("first");
        ModelShares shares = sharesOf(modelId);
        ModelTreasury treasury = treasuryOf(modelId);
        Grant[] memory none = new Grant[](0);
        vm.expectRevert();
        shares.initialize(9, "x", "x", none, address(this), 0);
        vm.expectRevert();
        treasury.initialize(9);
        ModelShares code = ModelShares(factory.sharesCode());
        vm.expectRevert();
        code.initialize(9, "x", "x", none, address(this), 0);
    }
}
