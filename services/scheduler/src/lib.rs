//! Cron schedules become objects, once each.
