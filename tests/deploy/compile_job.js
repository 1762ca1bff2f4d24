// Runs a Flamenco job type as the manager does, with stubs of its globals: node compile_job.js SCRIPT SETTINGS
// Writes the tasks as JSON: name, type, commands, dependencies.
"use strict";
const fs = require("fs");
const vm = require("vm");
const posix = require("path").posix;

class Task {
    constructor(name, type) {
        Object.assign(this, { name, type, commands: [], dependencies: [] });
    }
    addCommand(command) { this.commands.push(command); }
    addDependency(task) { this.dependencies.push(task.name); }
}

function frameChunker(frames, size) {
    const [first, last] = frames.split("-").map(Number);
    const chunks = [];
    for (let k = first; k <= (last ?? first); k += size) {
        const end = Math.min(k + size - 1, last ?? first);
        chunks.push(k === end ? `${k}` : `${k}-${end}`);
    }
    return chunks;
}

const tasks = [];
const globals = {
    author: { Task: (name, type) => new Task(name, type), Command: (name, parameters) => ({ name, parameters }) },
    path: { ...posix, stem: (file) => posix.basename(file, posix.extname(file)) },
    frameChunker,
    shellSplit: (text) => text.trim().split(/\s+/),
};
const context = vm.createContext(globals);
vm.runInContext(fs.readFileSync(process.argv[2], "utf8") + "\nthis.type = JOB_TYPE; this.run = compileJob;", context);
const given = JSON.parse(process.argv[3]);
const settings = {};
for (const setting of context.type.settings) {
    settings[setting.key] = given[setting.key] ?? setting.default ?? "";
}
context.run({ settings, addTask: (task) => tasks.push(task) });
console.log(JSON.stringify({ type: context.type, tasks }));
