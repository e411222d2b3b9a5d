use proptest::prelude::*;
use serde_json::json;

use super::{check::STEPS_MAX, read::NESTED_MAX, *};

fn mismatch(schema: &Value, value: &Value) -> String {
    let schema = Schema::read(schema).unwrap_or_else(|why| panic!("{schema}: {why}"));
    schema.check(value).err().map_or_else(String::new, |mismatch| mismatch.to_string())
}

#[test]
fn what_does_not_fit_is_told_with_its_place_and_nothing_of_what_was_sent() {
    let order = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["order"],
        "properties": {"order": {"$ref": "#/$defs/order"}, "a/b~c": {"const": 1}},
        "$defs": {"order": {
            "type": "object",
            "required": ["id", "lines"],
            "properties": {
                "id": {"type": "string", "pattern": "^ord_[0-9]+$", "maxLength": 12},
                "currency": {"enum": ["EUR", "USD"]},
                "total": {"type": ["number", "null"], "minimum": 0, "multipleOf": 0.01},
                "lines": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "integer"}},
            },
            "additionalProperties": {"type": "string"},
        }},
    });
    let with = |key: &str, value: Value| {
        let mut body = json!({"order": {"id": "ord_1", "lines": [1, 2.0], "total": 0.3}});
        body["order"][key] = value;
        body
    };
    assert_eq!(mismatch(&order, &with("note", json!("x"))), "");
    for (body, wanted) in [
        (json!([]), "all of it has to be of type object"),
        (json!({}), "/order has to be there"),
        (json!({"order": {"lines": [1]}}), "/order/id has to be there"),
        (with("id", json!("secret")), "/order/id has to match ^ord_[0-9]+$"),
        (with("id", json!("ord_123456789")), "/order/id has to have at most 12 characters"),
        (with("currency", json!("secret")), "/order/currency has to be \"EUR\" or \"USD\""),
        (with("total", json!("secret")), "/order/total has to be of type number or null"),
        (with("total", json!(-1)), "/order/total has to be at least 0"),
        (with("total", json!(0.305)), "/order/total has to be a multiple of 0.01"),
        (with("lines", json!([])), "/order/lines has to have at least 1 items"),
        (with("lines", json!([1, 1.0])), "/order/lines has to have no item twice"),
        (with("lines", json!([1, 2.5])), "/order/lines/1 has to be of type integer"),
        (with("secret", json!(1)), "/order/* has to be of type string"),
    ] {
        assert_eq!(mismatch(&order, &body), wanted, "{body}");
    }
    let odd = json!({"order": {"id": "ord_1", "lines": [1]}, "a/b~c": 2});
    assert_eq!(mismatch(&order, &odd), "/a~1b~0c has to be 1");
}

#[test]
fn what_is_not_checked_can_not_be_written() {
    for (schema, wanted) in [
        (json!({"unevaluatedProperties": false}), "hookgate does not check `unevaluatedProperties`"),
        (json!({"properties": {"a": {"typ": "string"}}}), "`#/properties/a/typ`"),
        (json!({"$defs": {"a": {"dependencies": {}}}}), "`#/$defs/a/dependencies`"),
        (json!({"type": "text"}), "`#/type` has to be one or a list of null"),
        (json!({"type": []}), "`#/type`"),
        (json!({"items": [{}]}), "`prefixItems`"),
        (json!({"minLength": -1}), "`#/minLength` has to be a whole number"),
        (json!({"maxItems": 1.5}), "`#/maxItems` has to be a whole number"),
        (json!({"exclusiveMinimum": true}), "`#/exclusiveMinimum` has to be a number"),
        (json!({"multipleOf": 0}), "above 0"),
        (json!({"pattern": "("}), "no pattern that can be read"),
        (json!({"patternProperties": {"[": {}}}), "no pattern that can be read"),
        (json!({"anyOf": []}), "one schema or more"),
        (json!({"required": "a"}), "a list of names"),
        (json!({"dependentRequired": {"a": "b"}}), "lists of names"),
        (json!({"properties": []}), "an object of schemas"),
        (json!({"not": 1}), "`#/not` is no schema"),
        (json!({"$ref": "https://a.example/b.json"}), "a place in the same schema"),
        (json!({"$ref": "#anchor"}), "a place in the same schema"),
        (json!({"$ref": "#/$defs/a"}), "nothing at `#/$defs/a`"),
        (json!({"$ref": "#"}), "leads back to itself"),
        (json!({"anyOf": [{"type": "null"}, {"allOf": [{"$ref": "#"}]}]}), "leads back to itself"),
        (json!("x"), "is no schema"),
    ] {
        let why = Schema::read(&schema).expect_err(&schema.to_string());
        assert!(why.contains(wanted), "{schema}: {why}");
    }
    let mut deep = json!({});
    for _ in 0..NESTED_MAX {
        deep = json!({"not": deep});
    }
    assert!(Schema::read(&deep).unwrap_err().contains("inside each other"));
}

#[test]
fn a_schema_may_lead_to_itself_further_down() {
    let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["n"]});
    assert_eq!(mismatch(&tree, &json!({"n": 1, "next": {"n": 2, "next": {"n": 3}}})), "");
    assert_eq!(mismatch(&tree, &json!({"n": 1, "next": {"next": {"n": 3}}})), "/next/n has to be there");
}

#[test]
fn alternatives_inside_of_alternatives_come_to_an_end() {
    let twice = json!({"properties": {"a": {"$ref": "#"}}});
    let schema = json!({"anyOf": [twice, twice], "properties": {"end": false}});
    let mut body = json!({"end": 1});
    for _ in 0..100 {
        body = json!({"a": body});
    }
    let why = mismatch(&schema, &body);
    assert!(why.contains(&format!("be checked in {STEPS_MAX} steps")), "{why}");
    // One step before that is no answer either, where the answer is turned round.
    let why = mismatch(&json!({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": schema}}), &body);
    assert!(why.contains("steps"), "{why}");
}

#[test]
fn a_pattern_that_takes_long_is_looked_for_in_less() {
    let many = json!({"pattern": "\\w{1,1000}!"});
    let why = mismatch(&many, &json!("a".repeat(1_000_000)));
    assert!(why.contains("steps"), "{why}");
    assert!(mismatch(&many, &json!("a".repeat(10_000))).contains("match"));
    assert_eq!(mismatch(&json!({"pattern": "^[a-z]+$"}), &json!("a".repeat(5_000_000))), "");
    let names = json!({"patternProperties": {"\\w{1,1000}!": true}});
    let why = mismatch(&names, &json!({"a".repeat(1_000_000): 1}));
    assert!(why.contains("steps"), "{why}");
    assert!(Schema::read(&json!({"pattern": "(\\w{1,1000}){5}"})).unwrap_err().contains("size"));
}

#[test]
fn numbers_are_compared_by_what_they_are() {
    let unique = |items: &str| {
        let items: Value = serde_json::from_str(items).unwrap();
        mismatch(&json!({"uniqueItems": true}), &items).is_empty()
    };
    for (items, is_unique) in [
        ("[1, 1.0]", false),
        ("[0, -0.0]", false),
        ("[1, 1.5, 2]", true),
        ("[9007199254740993, 9007199254740992.0]", true),
        ("[9007199254740992, 9007199254740992.0]", false),
        ("[18446744073709551615, 18446744073709551616]", true),
        ("[-1.5, -1]", true),
        ("[1e308, 1e308]", false),
        ("[-9223372036854775808, -9223372036854775808.0]", false),
        (r#"[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}]"#, false),
        (r#"[{"a": 1}, {"b": 1}, ["a", 1], "a"]"#, true),
    ] {
        assert_eq!(unique(items), is_unique, "{items}");
    }
}

#[test]
fn what_is_long_or_deep_needs_no_stack() {
    let mut chain = json!({"$defs": {}, "properties": {"a": {"$ref": "#/$defs/0"}}});
    for n in 0..20_000 {
        chain["$defs"][n.to_string()] = json!({"items": {"$ref": format!("#/$defs/{}", n + 1)}});
    }
    chain["$defs"]["20000"] = json!(false);
    assert_eq!(mismatch(&chain, &json!({"a": [[[]]]})), "");
    let mut nested = json!({"properties": {"a": {"$ref": "#"}}});
    for _ in 2..NESTED_MAX {
        nested = json!({"allOf": [nested]});
    }
    let deep = |depth| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
    assert_eq!(mismatch(&nested, &deep(127)), "", "as deep as JSON may be");
    assert!(mismatch(&nested, &deep(300)).contains("steps, 2048 deep"));
}

/// Values of a few kinds, so that some of them meet.
fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        (-6_i32..7).prop_map(|n| json!(f64::from(n) / 2.0)),
        (0_u32..40).prop_map(|n| json!(f64::from(n) / 100.0)),
        "[ab1ü]{0,3}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|members| json!(members)),
        ]
    })
}

fn schemas() -> impl Strategy<Value = Value> {
    let types =
        prop::sample::select(vec!["null", "boolean", "object", "array", "number", "integer", "string"]);
    let numbers =
        prop_oneof![(-3_i64..4).prop_map(Value::from), (-6_i32..7).prop_map(|n| json!(f64::from(n) / 2.0))];
    let divisors =
        prop::sample::select(vec![json!(1), json!(2), json!(0.5), json!(0.01), json!(0.1), json!(1.5)]);
    let patterns = prop::sample::select(vec!["a", "^a", "b$", "^[ab]+$", "^.{2}$", "\\d", "1|b", "^\\w*$"]);
    let counts = 0_u64..4;
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        types.clone().prop_map(|name| json!({"type": name})),
        (types.clone(), types).prop_map(|(a, b)| if a == b {
            json!({"type": a})
        } else {
            json!({"type": [a, b]})
        }),
        prop::collection::vec(values(), 1..4).prop_map(|values| json!({"enum": values})),
        values().prop_map(|value| json!({"const": value})),
        (prop::sample::select(vec!["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), numbers)
            .prop_map(|(keyword, number)| json!({keyword: number})),
        divisors.prop_map(|divisor| json!({"multipleOf": divisor})),
        (
            prop::sample::select(vec![
                "minLength",
                "maxLength",
                "minItems",
                "maxItems",
                "minProperties",
                "maxProperties"
            ]),
            counts.clone()
        )
            .prop_map(|(keyword, count)| json!({keyword: count})),
        patterns.clone().prop_map(|pattern| json!({"pattern": pattern})),
        Just(json!({"uniqueItems": true})),
        prop::collection::btree_set("[ab]", 0..3).prop_map(|names| json!({"required": names})),
        Just(json!({"dependentRequired": {"a": ["b"]}})),
    ];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..3);
        let named = prop::collection::btree_map("[ab]", inner.clone(), 0..3);
        prop_oneof![
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), list())
                .prop_map(|(keyword, schemas)| json!({keyword: schemas})),
            (prop::sample::select(vec!["not", "items", "propertyNames", "additionalProperties"]), inner.clone())
                .prop_map(|(keyword, schema)| json!({keyword: schema})),
            (list(), inner.clone()).prop_map(|(first, others)| json!({"prefixItems": first, "items": others})),
            (inner.clone(), counts.clone(), counts.clone()).prop_map(|(item, min, max)| {
                json!({"contains": item, "minContains": min, "maxContains": max})
            }),
            inner.clone().prop_map(|item| json!({"contains": item})),
            (named.clone(), patterns.clone(), inner.clone(), inner.clone()).prop_map(|(named, pattern, matching, others)| {
                json!({"properties": named, "patternProperties": {pattern: matching}, "additionalProperties": others})
            }),
            named.prop_map(|named| json!({"properties": named})),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(condition, then, otherwise)| json!({"if": condition, "then": then, "else": otherwise})),
            inner.clone().prop_map(|schema| json!({"$ref": "#/$defs/a", "$defs": {"a": schema}})),
        ]
    })
}

/// A reference leads from the whole document, and here schemas are put into others.
fn without_references(schema: Value) -> Value {
    match schema {
        Value::Object(mut keywords) => match (keywords.remove("$ref"), keywords.remove("$defs")) {
            (Some(_), Some(mut definitions)) => without_references(definitions["a"].take()),
            _ => keywords.into_iter().map(|(keyword, value)| (keyword, without_references(value))).collect(),
        },
        Value::Array(items) => items.into_iter().map(without_references).collect(),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// The crate that knows all of JSON Schema says the same.
    #[test]
    fn another_validator_says_the_same(schema in schemas(), values in prop::collection::vec(values(), 1..6)) {
        let inner = without_references(schema);
        for schema in [inner.clone(), json!({"$ref": "#/$defs/a", "$defs": {"a": inner}})] {
            let ours = Schema::read(&schema).map_err(TestCaseError::fail)?;
            let theirs = jsonschema::validator_for(&schema).unwrap();
            for value in &values {
                prop_assert_eq!(ours.check(value).is_ok(), theirs.is_valid(value), "{} {}", schema, value);
            }
        }
    }

    #[test]
    fn anything_is_read_or_refused(schema in values(), value in values()) {
        if let Ok(schema) = Schema::read(&schema) {
            std::hint::black_box(schema.check(&value).is_ok());
        }
    }
}
