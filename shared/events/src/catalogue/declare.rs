//! How [`entries`](super::entries) becomes types: one enum of operations, one of event types, and what is known of each.

/// Declares the catalogue. The form is told where it is used.
macro_rules! catalogue {
    (
        operations {$(
            $operation:ident $what:literal $topics:tt $fields:tt $published:ident {
                started $started:ident = $started_wire:literal;
                $(progress $progress:ident = $progress_wire:literal;)?
                failed $failed:ident = $failed_wire:literal $advice:literal $(with $failed_fields:tt)? $(later $failed_later:ident)?;
                completed $completed:ident = $completed_wire:literal $done:literal
                    $(on $done_topics:tt)? $(and $done_fields:tt)?;
            }
        )+}

        notices {$(
            $notice:ident = $notice_wire:literal $notice_topics:tt $severity:ident $notice_fields:tt $notice_published:ident
                $meaning:literal $notice_advice:literal;
        )+}
    ) => {
        /// What can be asked for, and ends in one event: completed or failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum OperationKind {
            $(#[doc = $what] $operation,)+
        }

        impl OperationKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$operation),+];

            /// What it does, for people: "a cluster's creation".
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$operation => $what,)+ }
            }

            /// The event of its beginning.
            #[must_use]
            pub fn started(self) -> EventType {
                match self { $(Self::$operation => EventType::$started,)+ }
            }

            /// The event of a step, where there are steps to tell.
            #[must_use]
            pub fn progress(self) -> Option<EventType> {
                #[allow(unused_assignments, unused_mut)]
                match self { $(Self::$operation => { let mut told = None; $(told = Some(EventType::$progress);)? told })+ }
            }

            /// The event of its failure.
            #[must_use]
            pub fn failed(self) -> EventType {
                match self { $(Self::$operation => EventType::$failed,)+ }
            }

            /// The event of its success.
            #[must_use]
            pub fn completed(self) -> EventType {
                match self { $(Self::$operation => EventType::$completed,)+ }
            }
        }

        /// A type of event. The name on the wire is 4.1's where 4.1 has the type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum EventType {
            $(
                #[doc = concat!($what, " begins.")]
                #[serde(rename = $started_wire)]
                $started,
                $(
                    #[doc = concat!("A step of ", $what, " is done.")]
                    #[serde(rename = $progress_wire)]
                    $progress,
                )?
                #[doc = concat!($what, " failed.")]
                #[serde(rename = $failed_wire)]
                $failed,
                #[doc = $done]
                #[serde(rename = $completed_wire)]
                $completed,
            )+
            $(
                #[doc = $meaning]
                #[serde(rename = $notice_wire)]
                $notice,
            )+
        }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[
                $(Self::$started, $(Self::$progress,)? Self::$failed, Self::$completed,)+
                $(Self::$notice,)+
            ];

            /// What there is to know of it.
            #[must_use]
            #[allow(clippy::too_many_lines, reason = "one arm a stage")]
            pub fn about(self) -> &'static About {
                match self {
                    $(
                        Self::$started => &About {
                            name: $started_wire,
                            operation: Some(OperationKind::$operation),
                            stage: Stage::Started,
                            severity: Severity::Info,
                            topics: catalogue!(@topics $topics),
                            fields: catalogue!(@fields $fields),
                            published: catalogue!(@published $published),
                            meaning: concat!($what, " begins."),
                            advice: "Wait for the end of the same operation: completed or failed.",
                        },
                        $(Self::$progress => &About {
                            name: $progress_wire,
                            operation: Some(OperationKind::$operation),
                            stage: Stage::Progress,
                            severity: Severity::Debug,
                            topics: catalogue!(@topics $topics),
                            fields: catalogue!(@fields $fields),
                            published: catalogue!(@published $published),
                            meaning: concat!("a step of ", $what, " is done."),
                            advice: "Nothing to do.",
                        },)?
                        Self::$failed => &About {
                            name: $failed_wire,
                            operation: Some(OperationKind::$operation),
                            stage: Stage::Failed,
                            severity: Severity::Error,
                            topics: catalogue!(@topics $topics),
                            fields: catalogue!(@failed $fields $($failed_fields)?),
                            published: catalogue!(@published_or $published $($failed_later)?),
                            meaning: concat!($what, " failed; the cause says why."),
                            advice: $advice,
                        },
                        Self::$completed => &About {
                            name: $completed_wire,
                            operation: Some(OperationKind::$operation),
                            stage: Stage::Completed,
                            severity: Severity::Info,
                            topics: catalogue!(@done $topics $($done_topics)?),
                            fields: catalogue!(@fields $fields $($done_fields)?),
                            published: catalogue!(@published $published),
                            meaning: $done,
                            advice: "Nothing to do.",
                        },
                    )+
                    $(
                        Self::$notice => &About {
                            name: $notice_wire,
                            operation: None,
                            stage: Stage::Notice,
                            severity: Severity::$severity,
                            topics: catalogue!(@topics $notice_topics),
                            fields: catalogue!(@fields $notice_fields),
                            published: catalogue!(@published $notice_published),
                            meaning: $meaning,
                            advice: $notice_advice,
                        },
                    )+
                }
            }
        }
    };

    (@published_or $published:ident) => { catalogue!(@published $published) };
    (@published_or $published:ident $later:ident) => { catalogue!(@published $later) };
    (@published Now) => { Published::Now };
    (@published Never) => { Published::Never };
    (@published $later:ident) => { Published::Later(Later::$later) };
    (@topics [$($topic:ident),+]) => { &[$(Topic::$topic),+] };
    (@done $topics:tt) => { catalogue!(@topics $topics) };
    (@done $topics:tt $others:tt) => { catalogue!(@topics $others) };
    (@fields ($($field:ident),*)) => { &[$(Field::$field),*] };
    (@fields ($($field:ident),*) ($($further:ident),+)) => { &[$(Field::$field,)* $(Field::$further),+] };
    // The cause comes last, unless 4.1 has it elsewhere.
    (@failed ($($field:ident),*)) => { &[$(Field::$field,)* Field::ErrorMessage] };
    (@failed ($($field:ident),*) ($($other:ident),+)) => { &[$(Field::$other),+] };
}

pub(super) use catalogue;
