//! The repositories that a caller may see.

use std::collections::HashSet;

use futures_util::future::try_join_all;

use super::resource::Resource;
use super::tenant::Tenant;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::RepositoryId;
use crate::model::{Repository, RepositoryPlace, RepositorySlug, TeamGrant};
use crate::name::RepositoryNamePrefix;
use crate::permission::Permission;
use crate::sort::{Position, Sort};
use crate::table::{Table, TableError};

/// A repository that the caller may see, before or after it is read.
#[derive(Clone, Debug)]
pub struct VisibleRepository {
    /// The repository, which is read for the page that shows it.
    pub id: RepositoryId,
    created_at: Timestamp,
    /// The place in the other lists than that by creation, if it was read.
    place: Option<RepositoryPlace>,
    row: Option<Repository>,
}

impl VisibleRepository {
    /// Returns all repositories that a caller without a permission on every repository may see. For a member, these are the
    /// account's public repositories and those of their teams, in one Query for each. For a trust, it is one repository. If they
    /// are to be sorted by their name or their last update, reads their rows too, because only those have it.
    pub async fn all(table: &Table, tenant: &Tenant, sort: Sort) -> Result<Vec<Self>, TableError> {
        if let Some(only) = tenant.only_repository() {
            return Ok(Repository::by_id(table, tenant, only).await?.map(Self::from).into_iter().collect());
        }
        let of_team = |team| TeamGrant::of_team(table, tenant, team);
        let granted = try_join_all(tenant.user().teams.iter().map(of_team));
        let (public, granted) = futures_util::future::try_join(Repository::public(table, tenant), granted).await?;
        let mut seen = HashSet::new();
        let public = public.into_iter().map(Self::from);
        let all = public.chain(granted.into_iter().flatten().map(Self::from));
        let all: Vec<_> = all.filter(|repository| seen.insert(repository.id.clone())).collect();
        match sort {
            Sort::Name | Sort::Updated => {
                Ok(Self::load(table, tenant, all.iter()).await?.into_iter().map(Self::from).collect())
            }
            Sort::Created => Ok(all),
        }
    }

    /// Returns the repositories whose names start with a prefix, which the caller may see.
    ///
    /// # Errors
    /// Fails with `invalid_request` if they are too many to be sorted.
    pub async fn starting_with(
        table: &Table,
        tenant: &Tenant,
        prefix: &RepositoryNamePrefix,
    ) -> Result<Vec<Self>, Error> {
        if tenant.permission_everywhere().is_some() {
            let places = Repository::starting_with(table, tenant, prefix).await?;
            return Ok(places.into_iter().map(Self::from).collect());
        }
        let mut all = Self::all(table, tenant, Sort::Name).await?;
        all.retain(|repository| repository.place.as_ref().is_some_and(|place| prefix.starts(&place.name)));
        Ok(all)
    }

    /// Returns the repository of this name.
    ///
    /// # Errors
    /// Fails with `not_found` if the caller can't see it.
    pub async fn named(app: &App, tenant: &Tenant, slug: RepositorySlug) -> Result<Repository, Error> {
        let found = Repository::authorize(app, tenant, slug, Permission::Read).await?;
        found.ok_or_else(|| Error::not_found(Repository::KIND))
    }

    /// Reads the rows of the repositories that `all` did not read.
    pub async fn load(
        table: &Table,
        tenant: &Tenant,
        these: impl Iterator<Item = &Self>,
    ) -> Result<Vec<Repository>, TableError> {
        let (read, unread): (Vec<_>, Vec<_>) = these.partition(|repository| repository.row.is_some());
        let mut rows = Repository::by_ids(table, tenant, unread.into_iter().map(|repository| &repository.id)).await?;
        rows.extend(read.into_iter().filter_map(|repository| repository.row.clone()));
        Ok(rows)
    }
}

impl From<Repository> for VisibleRepository {
    fn from(row: Repository) -> Self {
        let place = RepositoryPlace::from(&row);
        Self { row: Some(row), ..Self::from(place) }
    }
}

impl From<RepositoryPlace> for VisibleRepository {
    fn from(place: RepositoryPlace) -> Self {
        Self { id: place.id.clone(), created_at: place.created_at, place: Some(place), row: None }
    }
}

impl From<TeamGrant> for VisibleRepository {
    fn from(grant: TeamGrant) -> Self {
        Self { id: grant.repository_id, created_at: grant.repository_created_at, place: None, row: None }
    }
}

impl Position for VisibleRepository {
    fn position(&self, sort: Sort) -> String {
        match &self.place {
            Some(place) => place.position(sort),
            None => RepositoryPlace::by_creation(&self.id, self.created_at),
        }
    }
}
