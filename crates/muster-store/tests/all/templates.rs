//! Templates: identifiers, revisions, the catalog.

use muster_store::StoreError;

use crate::support::{NOW, Place, instance, officer, template};

#[tokio::test]
async fn template_gets_an_identifier_once_and_a_revision_with_each_change() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    let first = store.put_template(template("Laptop"), vec![11, 12], officer(), NOW).await.unwrap();
    assert_eq!(first.oid.as_ref().unwrap().as_str(), "1.3.6.1.4.1.311.21.8.7.11.12");
    assert_eq!((first.major, first.minor), (100, 0));

    let mut changed = template("LAPTOP");
    changed.validity.days -= 1;
    let second = store.put_template(changed.clone(), vec![99], officer(), NOW.plus(5)).await.unwrap();
    assert_eq!(second.oid, first.oid);
    assert_eq!((second.major, second.minor), (100, 1));

    let generation = store.generations().await.unwrap();
    let same = store.put_template(changed.clone(), vec![99], officer(), NOW.plus(6)).await.unwrap();
    assert_eq!(same, second);
    assert_eq!(store.generations().await.unwrap(), generation);

    changed.major = 101;
    let third = store.put_template(changed, vec![99], officer(), NOW.plus(7)).await.unwrap();
    assert_eq!((third.major, third.minor), (101, 0));

    let history = store.template_history("laptop").await.unwrap();
    let revisions: Vec<_> = history.iter().map(|v| (v.template.major, v.template.minor)).collect();
    assert_eq!(revisions, [(100, 0), (100, 1), (101, 0)]);
    assert_eq!(history[1].changed, NOW.plus(5));
    assert_eq!(history[1].changed_by, "officer:root");
    assert_eq!(store.catalog().await, Ok(vec![third]));
}

#[tokio::test]
async fn removed_template_leaves_the_catalog_and_returns_as_itself() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    let first = store.put_template(template("A"), vec![1], officer(), NOW).await.unwrap();
    store.put_template(template("B"), vec![2], officer(), NOW).await.unwrap();
    store.unpublish_template("a".to_owned(), officer(), NOW).await.unwrap();
    let names: Vec<_> = store.catalog().await.unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["B"]);
    assert!(!store.template("A").await.unwrap().unwrap().published);
    assert!(matches!(
        store.unpublish_template("a".to_owned(), officer(), NOW).await,
        Err(StoreError::NotFound { .. })
    ));
    let again = store.put_template(template("A"), vec![3], officer(), NOW).await.unwrap();
    assert_eq!(again.oid, first.oid);
    assert_eq!(again.minor, first.minor + 1);
    let names: Vec<_> = store.catalog().await.unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["A", "B"]);
}

#[tokio::test]
async fn identifier_of_another_template_is_refused() {
    let place = Place::new();
    let store = place.open();
    instance(&store).await;
    let first = store.put_template(template("A"), vec![1], officer(), NOW).await.unwrap();
    let mut thief = template("B");
    thief.oid = first.oid;
    let refused = store.put_template(thief, vec![], officer(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let mut renamed = template("A");
    renamed.oid = Some("1.2.3".parse().unwrap());
    let refused = store.put_template(renamed, vec![], officer(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(store.templates().await.unwrap().len(), 1);
}

#[tokio::test]
async fn unusable_template_is_refused() {
    let place = Place::new();
    let store = place.open();
    let no_root = store.put_template(template("A"), vec![1], officer(), NOW).await;
    assert!(matches!(no_root, Err(StoreError::Conflict(_))), "{no_root:?}");
    instance(&store).await;
    let mut faulty = template("A");
    faulty.eku.clear();
    let refused = store.put_template(faulty, vec![1], officer(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
}

#[tokio::test]
async fn instance_is_set_once() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(store.instance().await, Ok(None));
    let first = instance(&store).await;
    let mut other = first.clone();
    other.policy_id = "other".to_owned();
    assert_eq!(store.set_instance(other).await, Ok(first.clone()));
    drop(store);
    assert_eq!(place.open().instance().await, Ok(Some(first)));
}
