// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Parts of a model's revenue after the protocol's fee, in hundredths of a percent; they sum to 10,000.
struct Route {
    uint16 shares;
    uint16 trainers;
    uint16 host;
    uint16 contributors;
    uint16 provers;
    uint16 validators;
    uint16 builder;
}

/// @notice An amount divided.
struct Parts {
    uint256 fee;
    uint256 shares;
    uint256 trainers;
    uint256 host;
    uint256 contributors;
    uint256 provers;
    uint256 validators;
    uint256 builder;
}

/// @title Arithmetic of revenue: multiply, then divide, round down, remainder to the shares
library Split {
    uint256 internal constant WHOLE = 10_000;
    /// How far a class may move in one change of a route.
    uint16 internal constant STEP_MAX = 1_000;
    /// How many generations of ancestors receive royalty.
    uint256 internal constant GENERATIONS = 4;

    /// @notice The protocol's default: 3,500 / 2,500 / 2,500 / 500 / 400 / 300 / 300.
    function standard() internal pure returns (Route memory) {
        return Route(3_500, 2_500, 2_500, 500, 400, 300, 300);
    }

    /// @notice Divides `amount`; a class without anybody in it falls to the shares.
    function divide(uint256 amount, uint256 feeBps, Route memory route, bool trained, bool built)
        internal
        pure
        returns (Parts memory parts)
    {
        parts.fee = (amount * feeBps) / WHOLE;
        uint256 rest = amount - parts.fee;
        if (trained) parts.trainers = (rest * route.trainers) / WHOLE;
        if (built) parts.builder = (rest * route.builder) / WHOLE;
        parts.host = (rest * route.host) / WHOLE;
        parts.contributors = (rest * route.contributors) / WHOLE;
        parts.provers = (rest * route.provers) / WHOLE;
        parts.validators = (rest * route.validators) / WHOLE;
        parts.shares =
            rest - parts.trainers - parts.builder - parts.host - parts.contributors - parts.provers - parts.validators;
    }

    /// @notice The royalty of the ancestor `generation` generations up (0 for the parent), out of a shares part.
    function royalty(uint256 sharesPart, uint256 royaltyBps, uint256 generation) internal pure returns (uint256) {
        return (sharesPart * (royaltyBps >> generation)) / WHOLE;
    }

    /// @notice The sum of a route, which must be `WHOLE`.
    function sum(Route memory route) internal pure returns (uint256) {
        return uint256(route.shares) + route.trainers + route.host + route.contributors + route.provers
            + route.validators + route.builder;
    }

    /// @notice Whether every class of two routes is within `STEP_MAX`.
    function isStep(Route memory a, Route memory b) internal pure returns (bool) {
        return _near(a.shares, b.shares) && _near(a.trainers, b.trainers) && _near(a.host, b.host)
            && _near(a.contributors, b.contributors) && _near(a.provers, b.provers) && _near(a.validators, b.validators)
            && _near(a.builder, b.builder);
    }

    function _near(uint16 a, uint16 b) private pure returns (bool) {
        return (a > b ? a - b : b - a) <= STEP_MAX;
    }
}
