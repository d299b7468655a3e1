// What is asked and when: at most one request of a kind in flight, only the newest settings waiting.

const PATIENCE = 50; // ms that a first part waits for the others, so that both are drawn together

/**
 * Asks `source.ask(tab, part, settings, moving)` for the parts of a tab, one after another, and calls
 * `arrived({settings, answers, moving, since})` with what is there, or `failed(error, asked)`.
 */
export class Exchange {
  constructor(tab, source, arrived, failed) {
    Object.assign(this, { tab, source, arrived, failed });
    this.waiting = null; // settings that nobody has asked for yet
    this.working = false;
    this.later = Promise.resolve(); // the other parts of the last settings
  }

  /** Wants the answers for these settings; those that wait are forgotten. */
  want(settings, moving) {
    this.waiting = { settings: structuredClone(settings), moving, since: performance.now() };
    if (!this.working) this.work();
  }

  async work() {
    this.working = true;
    while (this.waiting) {
      const asked = this.waiting;
      this.waiting = null;
      this.asked = asked;
      await this.answer(asked);
    }
    this.working = false;
  }

  async answer(asked) {
    const [first, ...others] = this.tab.parts;
    const answers = {};
    try {
      answers[first] = await this.source.ask(this.tab, first, asked.settings, asked.moving);
    } catch (error) {
      if (!this.waiting) this.failed(error, asked);
      return;
    }
    const shown = () => this.arrived({ ...asked, answers: { ...answers } });
    if (!others.length) {
      shown();
      return;
    }
    let isDrawn = false;
    // One request for later parts at a time, too: those of older settings end first.
    const rest = this.later.then(async () => {
      for (const part of others) {
        if (this.asked !== asked) return;
        try {
          answers[part] = await this.source.ask(this.tab, part, asked.settings, asked.moving);
        } catch (error) {
          answers[part] = { error: error.message };
        }
      }
      if (this.asked === asked && isDrawn) shown();
    });
    this.later = rest;
    await Promise.race([rest, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
    isDrawn = true;
    shown();
  }
}

/** Answers from the server that sent this page. */
export const server = {
  async tabs() {
    return (await fetch("/tabs")).json();
  },
  script: (tab) => import(`/page/${tab.name}.js`),
  limits: () => null,
  async ask(tab, part, settings, moving) {
    let response;
    try {
      response = await fetch(`/tabs/${tab.name}/${part}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ settings, moving }),
      });
    } catch {
      throw new Error("The server does not answer: start it again with attndyn explore.");
    }
    const answer = await response.json().catch(() => ({ error: "The server failed: its terminal says why." }));
    if (!response.ok) throw new Error(answer.error);
    return answer;
  },
};
