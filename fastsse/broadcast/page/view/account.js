// The name of the bearer, and the dialog that asks for a token. Shown only where the hub has access control.

import { cut } from "../stream/text.js";

const LONGEST = 60; // characters of a name

export class AccountView {
  #signIn;
  #actions;
  #account = document.querySelector("#account");
  #name = document.querySelector("#account-name");
  #in = document.querySelector("#sign-in");
  #out = document.querySelector("#sign-out");
  #dialog = document.querySelector("#sign-in-dialog");
  #form = document.querySelector("#sign-in-form");
  #field = document.querySelector("#token");
  #keep = document.querySelector("#keep-token");
  #error = document.querySelector("#token-error");

  /**
   * @param {import("../stream/sign-in.js").SignIn} signIn
   * @param {object} actions
   * @param {() => void} actions.onSignedIn somebody has signed in
   * @param {() => void} actions.onSignedOut somebody has signed out
   */
  constructor(signIn, actions) {
    this.#signIn = signIn;
    this.#actions = actions;
    for (const button of document.querySelectorAll("[data-sign-in]")) button.addEventListener("click", () => this.open());
    document.querySelector("#sign-in-cancel").addEventListener("click", () => this.#dialog.close());
    this.#out.addEventListener("click", () => this.#leave());
    this.#field.addEventListener("input", () => this.#refuse(""));
    this.#dialog.addEventListener("close", () => this.#empty());
    this.#form.addEventListener("submit", (submit) => {
      submit.preventDefault(); // the browser sends this form nowhere
      this.#enter();
    });
    this.show();
  }

  /** Shows what became of the token. */
  show() {
    const { signedIn, closed, subject, until } = this.#signIn;
    this.#account.hidden = !closed;
    this.#in.hidden = signedIn;
    this.#out.hidden = this.#name.hidden = !signedIn;
    const name = cut(subject, LONGEST) || "signed in";
    this.#name.textContent = name;
    this.#name.title = `${subject ? `signed in as ${name}` : name}${until === null ? "" : `, until ${moment(until)}`}`;
  }

  open() {
    this.#dialog.showModal();
    this.#field.focus();
    this.#refuse(this.#signIn.reason);
  }

  async #enter() {
    if (this.#form.hasAttribute("aria-busy")) return;
    this.#form.setAttribute("aria-busy", "true");
    const refused = await this.#signIn.begin(this.#field.value, this.#keep.checked);
    this.#form.removeAttribute("aria-busy");
    if (refused) {
      this.#refuse(refused);
      this.#field.focus();
      return;
    }
    this.#dialog.close();
    this.#out.focus(); // the button that opened the dialog may be gone
    this.#actions.onSignedIn();
  }

  #leave() {
    this.#signIn.end();
    this.#in.focus();
    this.#actions.onSignedOut();
  }

  #empty() {
    this.#form.reset(); // the token stays in no field
    this.#refuse("");
  }

  #refuse(reason) {
    this.#error.textContent = reason;
    this.#error.hidden = !reason;
    if (reason) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
  }
}

function moment(ms) {
  const day = new Date(ms).toDateString() === new Date().toDateString() ? {} : { dateStyle: "medium" };
  return new Intl.DateTimeFormat(undefined, { ...day, timeStyle: "medium" }).format(ms);
}
