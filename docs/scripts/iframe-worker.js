// Makes the search of the site work in pages that are opened from a folder, where a browser starts no workers: a hidden
// frame runs the worker's script instead. The search itself asks for the name IFrameWorker, to find its files from there.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.document.open();
      inside.document.close();

      const load = address => new Promise((resolve, reject) => {
        const script = inside.document.createElement("script");
        Object.assign(script, {src: address, onload: resolve, onerror: reject});
        inside.document.body.append(script);
      });
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
      inside.importScripts = async (...addresses) => {
        for (const address of addresses) await load(address);
      };
      this.frame = frame;
      this.loaded = load(new URL(url, location.href).href);
    }

    async postMessage(data) {
      await this.loaded;
      const {contentWindow} = this.frame;
      contentWindow.dispatchEvent(new contentWindow.MessageEvent("message", {data: structuredClone(data)}));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
