//! What the ledger and the contracts must agree on, asked after every step.

use super::*;

impl Both {
    pub(super) fn check(&self, place: &str) {
        let (town, ledger) = (&self.town, &self.ledger);
        let of = |map: &std::collections::BTreeMap<String, u128>, name: &str| {
            map.get(name).copied().unwrap_or_default()
        };
        for name in people() {
            let who = account(&name);
            assert_eq!(town.purse(who).unwrap(), of(&ledger.wallet, &name), "{place}: {name}");
            assert_eq!(town.owed(who).unwrap(), of(&ledger.owed, &name), "{place}: owed to {name}");
            assert_eq!(town.reward(who).unwrap(), of(&ledger.rewards, &name), "{place}: given to {name}");
        }
        assert_eq!(self.supply - town.supply().unwrap(), ledger.burnt, "{place}: burnt");
        assert_eq!(town.revenue().unwrap(), ledger.shares, "{place}: shares");
        self.check_positions(place);
        self.check_claims(place);
        let waiting: u128 = ledger.claims.values().map(Claim::waiting).sum();
        let owed: u128 = ledger.owed.values().sum();
        assert_eq!(town.purse(self.at().court).unwrap(), waiting + owed, "{place}: the court (8)");
        let bonds: u128 = ledger.hostings.values().map(|one| one.position.whole()).sum();
        let stakes: u128 = ledger.seats.values().map(Position::whole).sum();
        let rewards: u128 = ledger.rewards.values().sum();
        let held = bonds + stakes + rewards + self.others;
        assert_eq!(town.purse(self.at().vault).unwrap(), held, "{place}: the vault (6)");
        let honest = &ledger.hostings[&self.honest];
        assert_eq!((honest.convictions, honest.position.whole()), (0, BOND), "{place}: honest (10)");
    }

    fn check_positions(&self, place: &str) {
        let (town, at) = (&self.town, self.at());
        for (id, expected) in &self.ledger.hostings {
            let call = Gate::hostingOfCall { hostingId: U256::from(*id) };
            let found = town.client.call(at.gate, &call).unwrap();
            let state = ["", "requested", "bonded", "delivered", "active", "paused", "exiting", "closed"];
            let state = state[usize::from(found.state)];
            let read = |id| town.client.call(at.vault, &StakeVault::positionOfCall { id }).unwrap();
            let position = read(found.position);
            let position = Position {
                bound: position.bound,
                thawing: position.thawing,
                thaws_at: position.thawsAt,
                freezes: position.freezes,
            };
            assert_eq!(position, expected.position, "{place}: hosting {id}");
            let open = self.claims(|claim| claim.hosting == *id && claim.state != "executed").len();
            assert_eq!(position.freezes as usize, open, "{place}: hosting {id} (7)");
            assert_eq!(
                (state, found.convictions),
                (expected.state, expected.convictions),
                "{place}: hosting {id}"
            );
        }
        for (name, expected) in &self.ledger.seats {
            let found = stake::Position::read(&town.client, &at, account(name), Seat::Validator).unwrap();
            let position = Position {
                bound: found.bound,
                thawing: found.thawing,
                thaws_at: found.thaws_at,
                freezes: found.freezes,
            };
            assert_eq!(position, *expected, "{place}: {name}");
            assert_eq!(found.is_seated, expected.bound >= SEAT, "{place}: {name}'s seat");
        }
        for ((hosting, epoch), expected) in &self.ledger.taken {
            let call = DisputeCourt::takenOfCall { hostingId: U256::from(*hosting), epoch: *epoch };
            let found: u128 = town.client.call(at.court, &call).unwrap().to();
            assert_eq!(found, *expected, "{place}: taken of hosting {hosting} for epoch {epoch}");
        }
    }

    fn check_claims(&self, place: &str) {
        for (id, expected) in &self.ledger.claims {
            let call = DisputeCourt::claimOfCall { claimId: *id };
            let bonds = self.town.client.call(self.at().court, &call).unwrap();
            let found = self.town.claim(*id).unwrap();
            let outcome = match expected.outcome {
                Outcome::None => "none",
                Outcome::Upheld => "upheld",
                Outcome::Dismissed => "dismissed",
                Outcome::Dropped => "dropped",
            };
            assert_eq!((found.state, found.outcome), (expected.state, outcome), "{place}: {expected:?}");
            let put_up = (bonds.bond, bonds.pleaBond, bonds.appealBond);
            assert_eq!(put_up, (expected.bond, expected.plea, expected.appeal), "{place}: {expected:?}");
            if !expected.is_over() {
                let goes_on = (found.round, found.deadline);
                assert_eq!(goes_on, (expected.round, expected.deadline), "{place}: {expected:?}");
            }
        }
    }
}
