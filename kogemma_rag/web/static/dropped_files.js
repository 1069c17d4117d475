// What is dropped or chosen, folders too, as files with their names relative to what was dropped.

const named = (file, name) => ({ file, name: name.normalize("NFC") });

/** Files of an input; in a folder's, hidden ones are left out. */
export function picked(files) {
  return [...files]
    .map((file) => named(file, file.webkitRelativePath || file.name))
    .filter(({ name }) => !isHidden(name));
}

/** Files of a drop; folders are walked. Must be called within the drop event. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some(Boolean)) return picked(transfer.files);
  const found = [];
  for (const entry of entries) if (entry) await walk(entry, "", found);
  return found;
}

async function walk(entry, folder, found) {
  const path = folder + entry.name;
  if (isHidden(path)) return;
  if (entry.isFile) {
    found.push(named(await new Promise((resolve, reject) => entry.file(resolve, reject)), path));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out a hundred entries at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some) await walk(child, `${path}/`, found);
  }
}

const isHidden = (path) => path.split("/").some((part) => part.startsWith(".") || part.startsWith("~$"));
