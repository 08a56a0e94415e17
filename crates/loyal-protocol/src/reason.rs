//! What a contract's refusal means, in a sentence.
//!
//! The sentences are those that stand at the errors in `contracts/src`; `cargo xtask generate` gathers them.

/// One line for each error: its name, a tab, its sentence.
const REASONS: &str = include_str!("../artifacts/reasons.txt");

/// Errors of the libraries that our contracts are built with, and those that the x402 standard names.
const OTHERS: [(&str, &str); 60] = [
    ("ERC20InsufficientBalance", "the account has less than that"),
    ("ERC20InsufficientAllowance", "the account has not approved that much: approve first"),
    ("ERC20InvalidReceiver", "this account cannot receive it"),
    ("ERC20ExceededCap", "there would be more than there may ever be"),
    ("ERC721NonexistentToken", "there is no model with this id"),
    ("ERC721InvalidReceiver", "this account cannot hold a model"),
    ("ERC721IncorrectOwner", "another account controls the model"),
    ("ERC721InsufficientApproval", "the caller does not control the model"),
    ("SafeERC20FailedOperation", "the asset refused to move"),
    ("ReentrancyGuardReentrantCall", "the asset called back while it was moved"),
    ("FailedCall", "a contract that was called in turn failed"),
    ("AccessControlUnauthorizedAccount", "the account does not have the role this needs"),
    (
        "TimelockUnexpectedOperationState",
        "the operation is not at the stage this needs: scheduled, ripe, or new",
    ),
    ("VotesExpiredSignature", "the signature was to be used earlier"),
    ("ClaimExceedsBalance", "the channel holds less than that"),
    ("ClaimExceedsCeiling", "the voucher allows less than that"),
    ("DepositCollectionFailed", "the deposit did not arrive"),
    ("DepositOverflow", "a channel cannot hold that much"),
    ("EmptyBatch", "there is nothing in the batch"),
    ("InvalidChannel", "the channel's terms make no sense: payer, receiver and asset must be accounts"),
    ("InvalidCollector", "this contract cannot collect deposits"),
    ("InvalidRefundNonce", "this refund was made already, or an earlier one was not"),
    ("InvalidSignature", "the signature is not of whom it should be"),
    ("NotAuthorizedToClaim", "only the receiver's side may redeem"),
    ("NotAuthorizedToFinalizeWithdraw", "only the payer's side may end its withdrawal"),
    ("NotAuthorizedToRefund", "only the receiver's side may refund"),
    ("NotReceiverAuthorizer", "only the receiver's authorizer may"),
    ("NothingToWithdraw", "there is nothing to withdraw"),
    ("WithdrawAmountExceedsAvailable", "the channel has less left than that"),
    ("WithdrawDelayNotElapsed", "the delay of the withdrawal is not over"),
    ("WithdrawDelayOutOfRange", "a withdrawal may be delayed by 15 minutes to 30 days"),
    ("WithdrawalAlreadyPending", "a withdrawal is under way"),
    ("WithdrawalNotPending", "no withdrawal is under way"),
    ("ZeroDeposit", "a deposit of nothing"),
    ("ZeroRefund", "a refund of nothing"),
    ("ECDSAInvalidSignature", "the signature is none"),
    ("ECDSAInvalidSignatureLength", "a signature has 65 bytes"),
    ("ECDSAInvalidSignatureS", "the signature's s is not the low one"),
    ("ERC2612ExpiredSignature", "the signature was to be used earlier"),
    ("ERC2612InvalidSigner", "the signature is another account's"),
    ("ERC3009InvalidAuthorizationTime", "the authorization is not good now"),
    ("ERC3009InvalidSignature", "the signature is not the payer's"),
    ("ERC3009UsedAuthorization", "the authorization was used before"),
    ("ERC5805FutureLookup", "votes of a time to come are not known"),
    ("InsufficientBalance", "the contract has less than that"),
    ("TimelockInsufficientDelay", "the delay is shorter than the timelock's"),
    ("TimelockUnexecutedPredecessor", "another operation comes first"),
    ("GovernorAlreadyCastVote", "the account has voted on this proposal"),
    ("GovernorAlreadyQueuedProposal", "the proposal waits in the timelock already"),
    ("GovernorDisabledDeposit", "the governor takes no deposits"),
    ("GovernorInsufficientProposerVotes", "the proposer has fewer votes than a proposal needs"),
    ("GovernorInvalidProposalLength", "a proposal has as many targets as values and calls, and at least one"),
    ("GovernorInvalidSignature", "the vote's signature is not the voter's"),
    ("GovernorInvalidVoteType", "a vote is against (0), for (1) or abstain (2)"),
    ("GovernorNonexistentProposal", "there is no such proposal"),
    ("GovernorOnlyExecutor", "only the governor's timelock may"),
    ("GovernorProposalQueueingNotRequired", "the proposal needs no timelock"),
    ("GovernorRestrictedProposer", "the proposal names another proposer"),
    ("GovernorUnableToCancel", "the account may not cancel this proposal"),
    ("GovernorUnexpectedProposalState", "the proposal is not at the stage this needs"),
];

/// `Gate_BondTooSmall { bond: 10, required: 72 }` as "the bond does not carry the price or the volume
/// (`Gate_BondTooSmall`: bond 10, required 72)". What is not known stays as it is.
pub(crate) fn sentence(error: &str) -> String {
    let (name, facts) = error.split_once(" {").unwrap_or((error, ""));
    let own = REASONS.lines().filter_map(|line| line.split_once('\t'));
    let Some((_, says)) = own.chain(OTHERS).find(|(known, _)| *known == name) else {
        return error.to_owned();
    };
    let facts = facts.trim().trim_end_matches('}').trim().replace(": ", " ");
    let facts = if facts.is_empty() { String::new() } else { format!(": {facts}") };
    format!("{says} ({name}{facts})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_sentences_with_their_facts() {
        assert_eq!(
            sentence("Gate_BondTooSmall { bond: 10, required: 72 }"),
            "the bond does not carry the price or the volume (Gate_BondTooSmall: bond 10, required 72)"
        );
        assert_eq!(sentence("Gate_BadReport"), "a report without invocations has no sums (Gate_BadReport)");
        assert_eq!(sentence("Nobody_Knows { a: 1 }"), "Nobody_Knows { a: 1 }");
    }

    /// Errors of libraries that no call of ours can meet; they would be shown as they are.
    const INTERNAL: [&str; 28] = [
        "AccessControlBadConfirmation",
        "AddressEmptyCode",
        "CheckpointUnorderedInsertion",
        "CloneArgumentsTooLong",
        "Create2EmptyBytecode",
        "Create3EmptyBytecode",
        "ERC20ExceededSafeSupply",
        "ERC20InvalidApprover",
        "ERC20InvalidSender",
        "ERC20InvalidSpender",
        "ERC721InvalidApprover",
        "ERC721InvalidOperator",
        "ERC721InvalidOwner",
        "ERC721InvalidSender",
        "ERC6372InconsistentClock",
        "FailedDeployment",
        "GovernorInvalidVoteParams",
        "GovernorInvalidVotingPeriod",
        "GovernorPreventLateQuorumVoteExtensionTooLarge",
        "GovernorProposalQueueingFailed",
        "InvalidAccountNonce",
        "InvalidInitialization",
        "InvalidShortString",
        "NotInitializing",
        "SafeCastOverflowedUintDowncast",
        "StringTooLong",
        "TimelockInvalidOperationLength",
        "TimelockUnauthorizedCaller",
    ];

    #[test]
    fn every_error_of_ours_has_a_sentence() {
        for name in crate::contracts::NAMES {
            let path = format!("{}/artifacts/{name}.sol", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let errors = text.lines().filter_map(|line| line.trim().strip_prefix("error "));
            for error in errors.filter_map(|error| error.split_once('(')).map(|(error, _)| error) {
                let known = sentence(error) != error;
                assert!(known || INTERNAL.contains(&error), "{name}: {error}");
            }
        }
    }
}
