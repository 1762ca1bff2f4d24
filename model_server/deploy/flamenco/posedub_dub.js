// A Flamenco job type for PoseDub dubs. Put this file into the folder `scripts` beside flamenco-manager.
//
// Each task has a range of frames made by a PoseDub server (`posedub dub --server`), which keeps them; the last task
// fetches the whole dub, of which nothing is drawn any more. Workers need the `posedub` command, not a graphics card.

const JOB_TYPE = {
    label: "PoseDub Dub",
    description: "Dub a face by sound: ranges of frames on a PoseDub server, then the whole as frames or a movie.",
    settings: [
        { key: "audio", type: "string", subtype: "file_path", required: true, description: "Speech, any common format." },
        { key: "portrait", type: "string", subtype: "file_path", default: "", description: "Picture or movie of the face." },
        { key: "into", type: "string", subtype: "file_path", default: "", description: "Movie to dub into." },
        { key: "pose", type: "string", subtype: "file_path", default: "", description: "Movie whose head pose is taken." },
        { key: "fps", type: "string", default: "25", description: "Frames per second, for example 24000/1001." },
        { key: "frames", type: "string", required: true, default: "0-249", description: "Frames of the dub, from 0 on." },
        { key: "chunk_size", type: "int32", default: 100, propargs: { min: 1 }, visible: "submission",
          description: "Frames of a task." },
        { key: "out", type: "string", subtype: "file_path", required: true, description: "Folder for frames, or a .mp4." },
        { key: "server", type: "string", required: true, default: "127.0.0.1:50761", description: "HOST:PORT." },
        { key: "token_file", type: "string", subtype: "file_path", default: "", description: "The server's token." },
        { key: "tls_ca", type: "string", subtype: "file_path", default: "", description: "Its certificate authority." },
        { key: "options", type: "string", default: "", description: "Further options of posedub dub.", visible: "submission" },
        { key: "parts", type: "string", subtype: "dir_path", default: "", visible: "web",
          description: "Where tasks leave their frames; beside the result by default." },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const parts = settings.parts || path.join(path.dirname(settings.out), path.stem(settings.out) + "-parts");
    const whole = author.Task("whole", "misc");
    for (const chunk of frameChunker(settings.frames, settings.chunk_size)) {
        const task = author.Task("dub-" + chunk, "misc");
        task.addCommand(dub(settings, rangeOf(chunk), path.join(parts, chunk)));
        job.addTask(task);
        whole.addDependency(task);
    }
    whole.addCommand(dub(settings, rangeOf(settings.frames), settings.out));
    job.addTask(whole);
}

// The command that makes a range of the dub.
function dub(settings, range, out) {
    let args = ["dub", "--server", settings.server, "--audio", settings.audio, "--fps", settings.fps];
    for (const name of ["portrait", "into", "pose", "token_file", "tls_ca"]) {
        if (settings[name]) {
            args = args.concat("--" + name.replace("_", "-"), settings[name]);
        }
    }
    args = args.concat(settings.options ? shellSplit(settings.options) : [], "--range", range, "--out", out);
    return author.Command("exec", { exe: "posedub", args: args });
}

// "40-52", Flamenco's first and last frame, or "40", as "40:53".
function rangeOf(frames) {
    const ends = frames.split("-").map(Number);
    if (ends.length > 2 || ends.some((end) => !Number.isInteger(end))) {
        throw new Error("The frames " + frames + " are not one range; write for example 0-249.");
    }
    return ends[0] + ":" + (ends[ends.length - 1] + 1);
}
