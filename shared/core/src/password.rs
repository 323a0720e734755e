//! Where the passwords of a cluster's users come from: its own Secrets, those of the cluster that `secretfrom` names, or
//! none, so that they are drawn.

use crate::{Desired, Observed, Step, UserSecret};

/// The steps to the user Secrets that are missing.
///
/// Until a cluster `was_ready`, the Secrets that it is to have the passwords of must be there, all of them. Later they may
/// be gone: a Secret that got lost is made of what there is.
///
/// # Errors
/// Names of Secrets that cannot be copied; none where nobody looked for them yet.
pub(crate) fn steps(
    desired: &Desired,
    observed: &Observed,
    was_ready: bool,
) -> Result<Vec<Step>, Vec<String>> {
    let missing = desired.missing_secrets(observed);
    let Some(from) = &desired.secret_from else {
        return Ok(missing.into_iter().map(Step::MakeUserSecret).collect());
    };
    let can_be_copied = |which: &UserSecret| {
        let sources = observed.sources.as_ref();
        sources.is_some_and(|sources| sources.contains(which))
    };
    let (copies, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(can_be_copied);
    if !others.is_empty() && !was_ready {
        let name = |which: &UserSecret| which.name(from.as_str(), desired.user.as_str());
        let known = observed.sources.is_some();
        return Err(others.iter().filter(|_| known).map(name).collect());
    }
    let copies = copies.into_iter().map(|which| Step::CopyUserSecret {
        which,
        from: from.clone(),
    });
    let drawn = others.into_iter().map(Step::MakeUserSecret);
    Ok(copies.chain(drawn).collect())
}

impl Desired {
    /// The user Secrets that are not there: neither the cluster's own nor lent ones.
    #[must_use]
    pub fn missing_secrets(&self, observed: &Observed) -> Vec<UserSecret> {
        let is_missing = |which: &UserSecret| {
            let name = self.secret_name(*which);
            !observed.user_secrets.contains_key(&name) && !observed.lent_secrets.contains(&name)
        };
        UserSecret::ALL.into_iter().filter(is_missing).collect()
    }
}
