// The variables of the account, of a repository and of an environment.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";
import { unique } from "./stack.js";

/** A name of a variable that no other test uses. */
const variable = () => unique("V").replace("-", "_");

/** The three places: the screen, and the path in the API. */
const PLACES = [
  ["the account", "/settings/variables", "/v1/account/variables"],
  ["a repository", `/repositories/${stack.repository}/settings`, `/v1/repositories/${stack.repository}/variables`],
  ["an environment", `/repositories/${stack.repository}/environments/staging`,
    `/v1/repositories/${stack.repository}/environments/staging/variables`],
];

for (const [place, screen, path] of PLACES) {
  test(`a variable of ${place} is added, replaced and deleted, and a secret is seen nowhere`, async () => {
    const [secret, plain, value] = [variable(), variable(), unique("value")];
    const owner = await signedIn();
    const rows = owner.page.getByRole("list", { name: "Variables", exact: true });
    const row = (/** @type {string} */ name) => rows.getByRole("listitem").filter({ hasText: name });
    const send = (/** @type {string} */ text) => owner.dialog().getByRole("button", { name: text }).click();
    const fill = (/** @type {string} */ label, /** @type {string} */ text) => owner.dialog().getByLabel(label, { exact: true }).fill(text);
    const stored = async (/** @type {string} */ name) =>
      (await stack.call(stack.owner, "GET", path)).data.find((/** @type {{name: string}} */ one) => one.name === name);
    await owner.open(screen);
    await owner.button("Add variable").click();
    await send("Add variable");
    await owner.dialog().locator("[name=name][aria-invalid=true]").waitFor();
    await fill("Name", "PATH");
    await fill("Value", value);
    await send("Add variable");
    await owner.dialog().locator("[name=name][aria-invalid=true]").waitFor();
    await fill("Name", secret);
    const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PUT"), send("Add variable")]);
    assert.deepEqual(sent.postDataJSON(), { value, secret: true });
    await owner.says(`Added ${secret}.`);
    await row(secret).getByText("Secret", { exact: true }).waitFor();
    assert.equal(await owner.page.evaluate((text) => document.documentElement.outerHTML.includes(text)
      || [...document.querySelectorAll("textarea")].some((one) => one.value.includes(text)), value), false);
    await owner.button(`Replace ${secret}`).click();
    assert.equal(await owner.dialog().getByLabel("Value", { exact: true }).inputValue(), "");
    await send("Replace");
    await owner.dialog().locator("[name=value][aria-invalid=true]").waitFor();
    await owner.page.keyboard.press("Escape");

    await owner.button("Add variable").click();
    await fill("Name", secret);
    await send("Add variable");
    await owner.dialog().getByText("There is a variable of this name.").waitFor();
    await fill("Name", plain);
    await fill("Value", "one\ntwo");
    await owner.dialog().getByRole("checkbox", { name: "Secret" }).uncheck();
    await send("Add variable");
    await row(plain).getByText("one two").waitFor();
    assert.equal((await stored(plain)).value, "one\ntwo");
    await owner.button(`Replace ${plain}`).click();
    await fill("Value", "three");
    await send("Replace");
    await row(plain).getByText("three").waitFor();
    await row(plain).getByText("by you").waitFor();

    for (const name of [secret, plain]) {
      await owner.button(`Delete ${name}`).click();
      await send("Delete");
      await owner.says(`Deleted ${name}.`);
      await row(name).waitFor({ state: "detached" });
      assert.equal(await stored(name), undefined);
    }
    await owner.close();
  });
}

test("who may change no variables sees the plain ones, and why they stay as they are", async () => {
  const name = variable();
  for (const [, , path] of PLACES) await stack.call(stack.owner, "PUT", `${path}/${name}`, { value: "seen" });
  const member = await signedIn((await stack.member()).token);
  for (const [place, screen, path] of PLACES) {
    await member.open(screen);
    await member.page.getByRole("list", { name: "Variables", exact: true }).getByText("seen").waitFor();
    for (const label of ["Add variable", `Replace ${name}`, `Delete ${name}`]) {
      assert.match(`${await member.button(label).getAttribute("aria-description")}`,
        /^(Only owners and admins|You need the permission “admin”)/, `${label} of ${place}`);
    }
    await stack.call(stack.owner, "DELETE", `${path}/${name}`);
  }
  await member.close();
});
