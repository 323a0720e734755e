//! The permissions a pgorole may hold.

use std::{fmt, str::FromStr};

/// Why a text is not a [`Permission`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} not a valid Permission")]
pub struct UnknownPermission(
    /// The text, without surrounding blanks.
    pub String,
);

macro_rules! permissions {
    ( $( $name:ident )* ) => {
        /// What a user may do; written as its name, in exactly this case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the names are 4.1's and say all there is")]
        pub enum Permission { $( $name, )* }

        impl Permission {
            /// Every permission, in order of name.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name, as in a pgorole.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

permissions! {
    ApplyPolicy Cat CreateBackup CreateBenchmark CreateCluster CreateDump CreateFailover CreateIngest CreateNamespace
    CreatePgbouncer CreatePgorole CreatePgouser CreatePgpool CreatePolicy CreateSchedule CreateUpgrade CreateUser
    DeleteBackup DeleteBenchmark DeleteCluster DeleteDeadLetter DeleteIngest DeleteNamespace DeletePgbouncer DeletePgorole DeletePgouser
    DeletePgpool DeletePolicy DeleteSchedule DeleteUser DfCluster Label Load Ls Reload RequeueDeadLetter RestartCluster Restore RestoreDump
    RestorePgbasebackup ScaleCluster ShowBackup ShowBenchmark ShowCluster ShowConfig ShowDeadLetter ShowIngest ShowNamespace ShowPVC
    ShowPgorole ShowPgouser ShowPolicy ShowSchedule ShowSecrets ShowUser ShowWorkflow Status TestCluster UpdateCluster
    UpdateNamespace UpdatePgorole UpdatePgouser UpdateUser Version
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let name = text.trim();
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == name)
            .ok_or_else(|| UnknownPermission(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_permission_is_read_from_its_name_with_blanks_around_it() {
        for permission in Permission::ALL {
            assert_eq!(format!(" {permission} ").parse(), Ok(*permission));
        }
    }

    #[test]
    fn a_permission_in_another_case_is_refused_with_4_1s_text() {
        let error = "showcluster".parse::<Permission>().unwrap_err();
        assert_eq!(error.to_string(), "showcluster not a valid Permission");
    }
}
