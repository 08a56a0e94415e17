// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title The first owners of all LOYAL, and when it becomes theirs
/// @notice Five allocations: initiatives, ecosystem, public, team, investors. A part is free at the start; the rest becomes
/// free evenly after a cliff.
contract GenesisVesting {
    using SafeERC20 for IERC20;

    /// @notice One allocation. The line of the rest runs from the cliff, over `duration`.
    struct Allocation {
        address beneficiary;
        uint16 bps;
        uint16 freeBps;
        uint64 cliff;
        uint64 duration;
        uint256 released;
    }

    /// @notice How many allocations there are.
    uint256 public constant COUNT = 5;

    /// @notice LOYAL.
    IERC20 public immutable currency;
    /// @notice The whole supply.
    uint256 public immutable supply;
    /// @notice When the clocks start, in unix seconds.
    uint64 public immutable start;

    Allocation[COUNT] private _allocations;

    /// @notice `amount` of allocation `index` went to its beneficiary.
    event Released(uint256 indexed index, address indexed beneficiary, uint256 amount);
    /// @notice Allocation `index` has another beneficiary.
    event BeneficiaryChanged(uint256 indexed index, address indexed beneficiary);

    /// @dev Only the beneficiary names another.
    error Vesting_NotBeneficiary(address caller);

    constructor(IERC20 currency_, uint256 supply_, uint64 start_, address[COUNT] memory beneficiaries) {
        currency = currency_;
        supply = supply_;
        start = start_;
        _allocations[0] = Allocation(beneficiaries[0], 4_400, 3_000, 0, 4 * 365 days, 0);
        _allocations[1] = Allocation(beneficiaries[1], 1_955, 3_000, 0, 4 * 365 days, 0);
        _allocations[2] = Allocation(beneficiaries[2], 200, 10_000, 0, 0, 0);
        _allocations[3] = Allocation(beneficiaries[3], 2_200, 0, 365 days, 6 * 365 days, 0);
        _allocations[4] = Allocation(beneficiaries[4], 1_245, 0, 365 days, 4 * 365 days, 0);
    }

    /// @notice Sends what is free of an allocation to its beneficiary.
    function release(uint256 index) external returns (uint256 amount) {
        Allocation storage allocation = _allocations[index];
        amount = vested(index, block.timestamp) - allocation.released;
        allocation.released += amount;
        emit Released(index, allocation.beneficiary, amount);
        currency.safeTransfer(allocation.beneficiary, amount);
    }

    /// @notice Names another beneficiary; only the present one may.
    function setBeneficiary(uint256 index, address beneficiary) external {
        require(msg.sender == _allocations[index].beneficiary, Vesting_NotBeneficiary(msg.sender));
        _allocations[index].beneficiary = beneficiary;
        emit BeneficiaryChanged(index, beneficiary);
    }

    /// @notice An allocation.
    function allocationOf(uint256 index) external view returns (Allocation memory) {
        return _allocations[index];
    }

    /// @notice How much of an allocation is free at `time`, released or not.
    function vested(uint256 index, uint256 time) public view returns (uint256) {
        Allocation memory allocation = _allocations[index];
        // slither-disable-next-line divide-before-multiply — the supply is a multiple of 10,000.
        uint256 total = (supply * allocation.bps) / 10_000;
        uint256 free = (total * allocation.freeBps) / 10_000;
        if (time < start) return 0;
        uint256 line = uint256(start) + allocation.cliff;
        if (time >= line + allocation.duration) return total;
        if (time <= line) return free;
        return free + ((total - free) * (time - line)) / allocation.duration;
    }
}
