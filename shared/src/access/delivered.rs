//! The repository that a delivery to a hook may deploy.

use crate::model::{Delivery, Hook, Repository};
use crate::permitted::Permitted;
use crate::table::{Table, TableError};

/// Returns the repository of a hook's delivery. The endpoint that wrote the delivery has verified the hook's secret, which proves
/// the permission to deploy. Returns `None` if the repository was deleted.
pub async fn repository_of(
    table: &Table,
    hook: &Hook,
    delivery: &Delivery,
) -> Result<Option<Permitted<Repository>>, TableError> {
    if delivery.hook_id != hook.id || delivery.repository_id != hook.repository_id {
        return Ok(None);
    }
    let tenant = Permitted::new(hook.account_id.clone());
    Ok(Repository::by_id(table, &tenant, &hook.repository_id).await?.map(Permitted::new))
}
